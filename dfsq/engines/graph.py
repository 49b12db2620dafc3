"""A graph behind the protocol of engines, and what it is taken for: by its metadata, or by running it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dfsq import plausibility
from dfsq.engines import reach as reaching
from dfsq.engines.engine import Engine
from dfsq.engines.fixed import in_windows
from dfsq.engines.reach import Reach
from dfsq.engines.session import Session, written
from dfsq.errors import CheckpointError, EngineError, UsageError
from dfsq.limits import RGB_RANGE, SCALE
from dfsq.model import NetworkInfo, Quantization, SRModel
from dfsq.networks import Recognised
from dfsq.networks.any_size import accept_any_size, probe
from dfsq.networks.recognition import Wanted, variants

_FLOATS = ("f2", "f4", "f8")
_PROBE = (48, 40)
_EXACT, _GREY_LEVELS, _ROUGHLY = 1e-3, 1.5 / 255, 10 / 255
"""How far most pixels of an exported network may be from it: in full precision, quantized, and in bf16."""
_MOST = 0.95
_LARGEST_MINIMUM = 1024
"""Pixels that any network needs."""
_EXPORT = "export it with one image, RGB or luminance, as its input and its output, height and width free"


@dataclass(frozen=True)
class Wire:
    """In what form a graph takes images."""

    last: bool
    """Whether channels come last: NHWC."""
    dtype: np.dtype[Any]
    single: bool
    """Whether it takes one image at a time."""
    size: tuple[int, int] | None = None
    """Height and width where it takes no others."""

    @property
    def bytes_(self) -> bool:
        """Whether it takes and gives 0–255 in integers."""
        return self.dtype == np.uint8

    def send(self, images: Tensor) -> np.ndarray[Any, Any]:
        """Images ``(N, C, H, W)`` in the graph's own range, as it takes them."""
        if self.last:
            images = images.permute(0, 2, 3, 1)
        if self.bytes_:
            images = images.clamp(0, 255).round()
        return np.ascontiguousarray(images.cpu().numpy().astype(self.dtype))

    def receive(self, values: np.ndarray[Any, Any]) -> Tensor:
        """What a graph returns, as float32 ``(N, C, H, W)``."""
        result = torch.from_numpy(np.asarray(values, np.float32))
        return result.permute(0, 3, 1, 2) if self.last else result


class Net(nn.Module):
    """A session as a module, so that it can be tried and fed like any network."""

    def __init__(self, session: Session, wire: Wire) -> None:
        super().__init__()
        self.session = session
        self.wire = wire
        # Whoever asks a network where it is asks a parameter.
        self.nowhere = nn.Parameter(torch.zeros(1), requires_grad=False)

    def forward(self, images: Tensor) -> Tensor:
        """Upscale ``(N, C, H, W)`` in the graph's own range. Raises :class:`EngineError` with the library's reason."""
        size = self.wire.size
        if size is not None and images.shape[2:] != size:
            return in_windows(self.forward, images, size)
        parts = torch.split(images, 1) if self.wire.single else (images,)
        try:
            return torch.cat([self.wire.receive(self.session.run(self.wire.send(part))) for part in parts])
        except Exception as error:  # libraries have errors of their own
            raise EngineError(f"{self.session.description.engine}: {reason(error)}") from error


class Graph(Engine):
    """A graph that an engine runs."""

    def __init__(
        self,
        model: SRModel,
        session: Session,
        info: NetworkInfo,
        quantization: Quantization | None = None,
        origin: SRModel | None = None,
    ) -> None:
        """``model`` holds the session as its network; ``info`` describes the network that the graph was made of, or
        found to be; ``origin`` is the former, where it is at hand."""
        size = wire_of(session).size
        alone = "it takes images of {1}×{0} pixels alone: others go through it in windows, whose seams may show"
        notes = (
            *session.notes,
            *model.notes,
            *(origin.notes if origin else ()),
            *([alone.format(*size)] if size else ()),
        )
        super().__init__(info, session.description, quantization, notes)
        self._size = size
        self._model = model
        self._session = session
        self._origin = origin

    @property
    def origin(self) -> SRModel | None:
        """The network that the graph was made of, where it is at hand."""
        return self._origin

    def run(self, images: Tensor) -> Tensor:
        """See :class:`Engine`."""
        result: Tensor = self._model.upscale_grey(images) if images.shape[1] == 1 else self._model(images)
        return result

    def find_reach(self) -> Reach | None:
        """See :class:`Engine`: exact where there is a network to ask."""
        if self._origin is None:
            return reaching.find(self, self.scale)
        from dfsq.engines.torch import Torch

        return Torch(self._origin).reach

    def bytes_per_pixel(self) -> float:
        """See :class:`Engine`."""
        if self._size is not None:
            return 0.0  # the same for every image
        try:
            return self._session.bytes_per_pixel() or super().bytes_per_pixel()
        except Exception:  # a graph whose shapes cannot be told
            return super().bytes_per_pixel()


def describe(session: Session, source: str, wanted: Wanted, check: bool = True, force: bool = False) -> Graph:
    """The engine of a graph from a file called ``source``.

    What dfsq has written into it counts; a graph of another tool is run to find its scale, and checked for its range as
    a checkpoint is. Raises :class:`CheckpointError` for a graph that maps no picture to a larger one or fails the
    check, and :class:`UsageError` where ``wanted`` contradicts it.
    """
    net = Net(session, wire_of(session))
    told = written(session.metadata)
    if not told:
        return _foreign(net, session, source, wanted, check, force)
    info = _info(told, source)
    minimum = told.get("min_size")
    if isinstance(minimum, int) and 1 < minimum <= _LARGEST_MINIMUM:
        accept_any_size(net, info.scale, 1, minimum)
    engine = of_dfsq(net, session, info)
    if wanted.scale not in (None, info.scale):
        raise UsageError(f"`scale` {wanted.scale}, but this network upscales by {info.scale}")
    expected = (1, 3, *(side * info.scale for side in _PROBE))
    result = engine(torch.full((1, 3, *_PROBE), 0.5))
    if tuple(result.shape) != expected:
        made = "×".join(map(str, result.shape))
        raise CheckpointError(f"it says that it upscales by {info.scale}, but gives {made}; export it again")
    engine.quantization = _quantization(told.get("header"))
    if str(told.get("quantization")).startswith("subset"):
        engine.notes += ("its quantized layers look up tables: exact, and no faster than in full precision",)
    return engine


def of_dfsq(net: Net, session: Session, info: NetworkInfo, origin: SRModel | None = None) -> Graph:
    """The engine of a graph that dfsq has exported: RGB in 0–1, or in bytes, whatever its network's own form is."""
    rgb_range = 255.0 if net.wire.bytes_ else 1.0
    outside = replace(info, channels=3, rgb_range=rgb_range, code=None)
    return Graph(SRModel(net, outside, ()), session, info, origin.quantization if origin else None, origin)


def wire_of(session: Session) -> Wire:
    """How ``session`` takes images. Raises :class:`CheckpointError` where it takes none."""
    if len(session.inputs) != 1 or not session.outputs:
        raise CheckpointError(f"it has {len(session.inputs)} inputs and {len(session.outputs)} outputs; {_EXPORT}")
    port = session.inputs[0]
    if len(port.shape) != 4:
        raise CheckpointError(f"its input has {len(port.shape)} dimensions, not 4; {_EXPORT}")
    if port.dtype != np.uint8 and port.dtype.str[1:] not in _FLOATS:
        raise CheckpointError(f"its input is neither of floating point nor of bytes; {_EXPORT}")
    last = port.shape[1] not in (1, 3) and port.shape[3] in (1, 3)
    sides = port.shape[1:3] if last else port.shape[2:]
    if port.shape[3 if last else 1] not in (None, 1, 3):
        raise CheckpointError(f"its input has {port.shape[3 if last else 1]} channels; {_EXPORT}")
    height, width = sides
    if (height is None) != (width is None):
        raise CheckpointError(f"it takes images of one height or one width alone; {_EXPORT}")
    size = None if height is None or width is None else (height, width)
    return Wire(last, port.dtype, port.shape[0] is not None, size)


def _foreign(net: Net, session: Session, source: str, wanted: Wanted, check: bool, force: bool) -> Graph:
    try:
        sizes = probe(net)
    except ValueError as error:
        raise CheckpointError(f"it is no super-resolution network ({error}); {_EXPORT}") from error
    if wanted.scale not in (None, sizes.scale):
        raise UsageError(f"`scale` {wanted.scale}, but this network upscales by {sizes.scale}")
    if sizes.restricted:
        accept_any_size(net, sizes.scale, sizes.multiple, sizes.minimum, sizes.square)
    found = {"scale": "run", "channels": "run"}
    usual = 255.0 if net.wire.bytes_ else 1.0
    info = NetworkInfo("graph", {}, sizes.scale, usual, source, channels=sizes.channels, found=found)
    allowed, excluded = variants(info, {}, None, wanted)

    def build(chosen: NetworkInfo) -> SRModel:
        return SRModel(net, chosen, ())

    recognised = Recognised("a super-resolution network", allowed, excluded, build)
    model = plausibility.choose(recognised, force) if check else build(allowed[0])
    return Graph(model, session, replace(model.info, source=source))


def _info(told: Mapping[str, Any], source: str) -> NetworkInfo:
    """What dfsq has written, where it is what it should be."""

    def number(key: str, usual: float | None, allowed: Any) -> float:
        value = told.get(key, usual)
        if isinstance(value, bool) or not isinstance(value, int | float) or not allowed.allow(value):
            raise CheckpointError(f"its metadata has no dfsq.{key} from {allowed}; export it again")
        return value

    def text(key: str, usual: str) -> str:
        value = told.get(key)
        return value if isinstance(value, str) and value else usual

    scale = number("scale", None, SCALE)
    if scale != int(scale):
        raise CheckpointError(f"its metadata has dfsq.scale {scale}; export it again")
    hyperparameters, found, fidelity = (told.get(key) for key in ("hyperparameters", "found", "fidelity"))
    return NetworkInfo(
        text("architecture", "graph"),
        hyperparameters if isinstance(hyperparameters, dict) else {},
        int(scale),
        number("rgb_range", 1.0, RGB_RANGE),
        text("source", source),
        text("source_sha256", ""),
        1 if told.get("channels") == 1 else 3,
        {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {},
        fidelity if isinstance(fidelity, int | float) else None,
    )


def _quantization(header: object) -> Quantization | None:
    """What the header of an artifact says, where a graph was made of one."""
    recipe, calibration = (header.get(key) if isinstance(header, dict) else None for key in ("recipe", "calibration"))
    if not isinstance(recipe, dict):
        return None
    bits = {key: recipe.get(key) for key in ("w_bits", "a_bits", "avg_bits", "mean_w_bits", "mean_a_bits")}
    sound = all(value is None or (isinstance(value, int | float) and 1 <= value <= 64) for value in bits.values())
    return Quantization(recipe if sound else {}, calibration if isinstance(calibration, dict) else {})


def reason(error: BaseException) -> str:
    """The line of a library's error that says most: the last that is neither empty nor a place in its sources."""
    lines = [re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", line.strip()) for line in str(error).splitlines()]
    telling = [line for line in lines if line and not line.startswith(("Exception from", "Check '"))]
    return (telling[-1].rstrip(".") if telling else type(error).__name__)[:300]


def agrees(engine: Engine, model: SRModel) -> bool:
    """Whether ``engine`` gives what ``model`` does on a small picture."""
    picture = plausibility.crop()
    with torch.no_grad():
        expected: Tensor = model.cpu()(picture)
    allowed = _ROUGHLY
    if engine.description.precision == "f32":
        # A value on the edge between two points may go to either.
        allowed = _EXACT if model.quantization is None else _GREY_LEVELS
    found = engine(picture)
    return found.shape == expected.shape and float(((found - expected).abs() <= allowed).float().mean()) > _MOST
