"""Static integers that engines run: one scale and zero point per tensor, symmetric weights, int32 biases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from calibration.methods.by_tensor import FLOAT_SHARE, ByTensor
from calibration.progress import Progress
from calibration.recipes.choice import choice
from calibration.recipes.recipe import register
from dfsq import limits
from dfsq.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from calibration.layers import Layer, LayerBits, Observer
    from calibration.methods.run import Calibration
    from calibration.planning import Plan
    from calibration.ranges import ChannelRanges
    from calibration.sensitivity import Sensitivity
    from dfsq.model import SRModel
    from dfsq.nn import AffineQuantizer

TARGETS = ("openvino", "onnxruntime")


@register
@dataclass(frozen=True, kw_only=True)
class Integers(ByTensor):
    """Channels share a grid, and factors in the neighbouring layers let each of them use all of it.

    OpenVINO rounds the input of a layer, and the factors are those of that input. ONNX Runtime keeps integers from
    layer to layer: outputs are rounded too, and the factors are folded into all layers that share a channel.
    """

    method: ClassVar[str] = "integers"

    w_bits: int = choice(7, "8 overflows, and ruins pictures, on processors without VNNI or AMX", limits=limits.BITS)
    a_bits: int = choice(8, "activations", limits=limits.BITS)
    outside_bits: int | None = choice(
        None, "outside the body scope; null: as inside, or full precision with scope body", limits=limits.BITS
    )
    scope: str = choice("all", "activations outside the body too; body: not these", known=("body", "all"))
    compensation: bool = choice(True, "layers one after the other, on quantized inputs")
    headroom: float = choice(
        1.0, "saturate beyond this multiple of what calibration saw, vivid colours included", limits=limits.HEADROOM
    )
    float_share: float = choice(0.1, FLOAT_SHARE, limits=limits.SHARE)
    target: str = choice("openvino", "engine that runs the integers: openvino or onnxruntime", known=TARGETS)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self._in_streams and not self.compensation:
            raise UsageError("`target` onnxruntime rounds outputs too, which needs `compensation`")

    @property
    def for_engines(self) -> bool:
        """It makes what they run."""
        return True

    @property
    def quantizes_operands(self) -> bool:
        """Engines take attention's products in full precision."""
        return False

    @property
    def _in_streams(self) -> bool:
        return self.target == "onnxruntime"

    @property
    def engine(self) -> str:
        """By whose integers the time is reckoned that layers take."""
        return self.target

    @property
    def folds(self) -> bool:
        """Whether factors of channels are folded into layers."""
        return self._in_streams

    @property
    def goes_to_extremes(self) -> bool:
        """Whether ranges are to hold vivid colours too."""
        # On one grid for all channels of ONNX Runtime's maps the wider steps cost more than colours cut off.
        return not self._in_streams

    @property
    def weights(self) -> str:
        """The weight quantizer: the one that engines have."""
        return "symmetric"

    def phrase(self) -> str:
        """What the method does, in a few words."""
        return f"equalized integers for {self.target}" + ", compensation" * self.compensation

    def observer(self, layer: nn.Module, extremes: ChannelRanges | None = None) -> ChannelRanges:
        """The extremes of every channel, ``extremes`` included."""
        from calibration.ranges import ChannelRanges
        from dfsq.nn import channel_axis

        observer = ChannelRanges(channel_axis(layer))
        observer.widen(extremes)
        return observer

    def input_quantizer(
        self, layer: nn.Module, observer: Observer, bits: int, sensitivity: Sensitivity | None
    ) -> AffineQuantizer:
        """The grid for what ``observer`` has seen, best for the channels that ``sensitivity`` says count most."""
        from calibration import ranges
        from dfsq.nn import channel_axis

        assert isinstance(observer, ranges.ChannelRanges)
        if self._in_streams:
            return ranges.for_tensor(observer, bits, self.headroom, channel_axis(layer))
        weights = None if sensitivity is None else sensitivity.inputs.diagonal()
        return ranges.equalized(observer, bits, weights, self.headroom, channel_axis(layer))

    def output_quantizer(self, layer: Layer, inputs: Iterable[Tensor], bits: LayerBits) -> AffineQuantizer | None:
        """The grid for what ``layer`` makes of ``inputs``, where ``bits`` say that it has one."""
        from calibration.outputs import make_output_quantizer

        return make_output_quantizer(layer, inputs, bits, self.headroom)

    def refined(
        self,
        run: Calibration,
        plan: Plan,
        batches: Sequence[Tensor],
        sensitivities: Mapping[str, Sensitivity],
        progress: Progress,
    ) -> Plan:
        """``plan`` with outputs where integers go on from layer to layer, without the layers that do best in float."""
        if self._in_streams:
            from calibration.outputs import with_outputs

            plan = with_outputs(run.model, plan, batches[0][:1])
        return super().refined(run, plan, batches, sensitivities, progress)

    def prepared(
        self, model: SRModel, plan: Plan, batches: Sequence[Tensor], sensitivities: Mapping[str, Sensitivity]
    ) -> Mapping[str, Sensitivity]:
        """Fold the factors of channels into ``model``, where layers share their maps."""
        if not self.folds:
            return sensitivities
        from calibration.folding import fold

        return fold(model, plan, batches, sensitivities)
