"""A model as an ONNX graph, with what it is written into its metadata."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from dfsq.errors import DfsqError, UsageError
from dfsq.export import bytes, integers, metadata, tidy
from dfsq.export.capture import capture
from dfsq.export.rewrites.integer_streams import integer_streams
from dfsq.export.rewrites.split_convolutions import split_convolutions
from dfsq.export.rewrites.spread_products import spread_products
from dfsq.export.traceable import traceable
from dfsq.extras import require
from dfsq.limits import OPSET as OPSETS
from dfsq.model import SRModel
from dfsq.networks.own import check_wrapped
from dfsq.nn import quantized_layers
from dfsq.version import __version__

if TYPE_CHECKING:
    import onnx

OPSET = 18
"""The lowest that torch.onnx writes without converting."""
TARGETS = ("openvino", "onnxruntime")
INPUT, OUTPUT = "lr", "sr"


def to_onnx(
    model: SRModel,
    *,
    target: str | None = None,
    uint8: bool = False,
    opset: int = OPSET,
    size: tuple[int, int] | None = None,
) -> onnx.ModelProto:
    """``model`` as an ONNX graph: ``lr`` float32 ``(N, 3, H, W)`` in 0–1, N, H and W free, to ``sr``, not clamped.

    ``target`` is the engine for which integers are placed, one of :data:`TARGETS`; None: that which the model was
    quantized for. ``uint8`` makes it uint8 RGB
    ``(N, H, W, 3)``, in and out. ``size`` fixes height and width. Initializers keep the names of the network's
    parameters, after ``net.``. :mod:`dfsq.export.metadata` says what the graph tells about itself. Raises
    :class:`~dfsq.errors.UsageError` for a ``target`` or an ``opset`` that there is not, for integers that were made for
    another ``target``, and
    :class:`~dfsq.errors.DfsqError` where onnx is not installed or the network cannot be written as a graph.
    """
    check_wrapped(model, "export")
    if target is not None and target not in TARGETS:
        raise UsageError(f"`target` {target!r}; known: {', '.join(TARGETS)}")
    target = _fitting(target, model)
    if not OPSETS.allow(opset):
        raise UsageError(f"`opset` {opset}; choose {OPSETS}")
    library = require("onnx", "onnx")
    require("onnxscript", "onnx")
    with traceable(model):
        captured = capture(model, size)
    graph = _translated(captured.program, model, opset, target)
    tidy.drop_notes(graph)
    tidy.name_dimensions(graph, model.scale)
    tidy.drop_empty_updates(graph)
    tidy.drop_unused(graph)
    if uint8:
        bytes.take_bytes(graph)
    facts = metadata.encoded(metadata.describe(model, captured, uint8) | {"target": target})
    library.helper.set_model_props(graph, facts)
    graph.producer_name, graph.producer_version = "dfsq", __version__
    checked: onnx.ModelProto = _checked(graph, library)
    return checked


def _fitting(target: str | None, model: SRModel) -> str | None:
    """``target`` where the integers of ``model`` are for it, that which they are for where it is None."""
    made_for = metadata.target_of(model)
    if target is None or made_for is None:
        return made_for
    # Grids that all channels share and that end at the inputs of layers are for both.
    per_channel = any(
        getattr(layer.input_quantizer, "factors", None) is not None for _, layer in quantized_layers(model.net)
    )
    if target != made_for and (made_for == "onnxruntime" or per_channel):
        raise UsageError(f"`target` {target}, but the model was quantized for {made_for}; quantize it for {target}")
    return target


def _translated(program: torch.export.ExportedProgram, model: SRModel, opset: int, target: str | None) -> Any:
    with _without_remarks(), torch.no_grad():
        try:
            translated = torch.onnx.export(
                program,
                dynamo=True,
                input_names=[INPUT],
                output_names=[OUTPUT],
                opset_version=opset,
                verbose=False,
                custom_translation_table=integers.translations(),
            )
        except (MemoryError, KeyboardInterrupt):
            raise
        except Exception as error:  # what is raised differs between operators and versions
            cause = error.__cause__ or error
            reason = " ".join(str(cause).split())[:300]
            raise DfsqError(
                f"{model.info.architecture} cannot be exported: there is no ONNX operator for what it computes "
                f"({reason}); change its code"
            ) from error
    assert translated is not None
    integers.store_integers(translated.model.graph, model.net)
    if target == "onnxruntime":
        spread_products(translated.model.graph)
        integer_streams(translated.model.graph)
    else:
        split_convolutions(translated.model.graph)
    return translated.model_proto


@contextmanager
def _without_remarks() -> Iterator[None]:
    """What torch's exporter says of itself, of a torchvision that no network here needs among others, goes unsaid."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def _checked(graph: Any, onnx: Any) -> Any:
    """``graph`` without the shapes inside, which ONNX infers. Raises :class:`DfsqError` for one that is none."""
    size = graph.ByteSize()
    if size >= onnx.checker.MAXIMUM_PROTOBUF:
        raise DfsqError(f"a graph of {size / 1e9:.1f} GB; ONNX holds 2 GB at most; export a smaller network")
    try:
        inferred = onnx.shape_inference.infer_shapes(graph, check_type=True, strict_mode=True, data_prop=True)
        onnx.checker.check_model(inferred, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:
        raise DfsqError(f"the graph is not what ONNX allows ({' '.join(str(error).split())[:300]})") from error
    del graph.graph.value_info[:]  # a tenth of the file
    return graph
