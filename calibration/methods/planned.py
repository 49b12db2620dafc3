"""Methods that quantize layers by a plan of bits, and so can be asked for one plan after another, as ``max_drop`` does.

Such a method says here what it does differently; :class:`~calibration.methods.run.Calibration` does the work.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from calibration.progress import Progress
from calibration.recipes.choice import choice
from calibration.recipes.recipe import Recipe
from dfsq import limits
from dfsq.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from calibration.images import PatchStream
    from calibration.layers import Layer, LayerBits, Observer
    from calibration.methods.run import Calibration
    from calibration.planning import Plan
    from calibration.ranges import ChannelRanges
    from calibration.sensitivity import Sensitivity
    from dfsq.model import SRModel
    from dfsq.nn import AffineQuantizer, InputQuantizer

SCOPES = ("attention", "body", "all")
SCOPE = (
    "the body, and where the network has attention the operands of its products; body: without these; "
    "all: activations outside the body too, at outside_bits"
)
"""What is chosen from :data:`SCOPES`."""


@dataclass(frozen=True, kw_only=True)
class Planned(Recipe):
    """What methods have in common that quantize layers under a plan. A :class:`~calibration.layers.Rounding`."""

    granularity: ClassVar[str]
    """Whether inputs are rounded in units of every sample's ``channel``, or in the range of the whole ``tensor``."""

    outside_bits: int | None = choice(
        None, "weights outside the body scope; null: full precision, or as inside with scope all", limits=limits.BITS
    )
    scope: str = choice("attention", SCOPE, known=SCOPES)

    def quantize(self, model: SRModel, images: PatchStream | Iterable[Tensor], progress: Progress) -> SRModel:
        """What :func:`calibration.quantize` does, under the plan that follows from the recipe."""
        from calibration.methods.run import Calibration

        run = Calibration(model, images, self, progress)
        return run.quantized(run.plan, progress)

    @property
    @abstractmethod
    def weights(self) -> str:
        """The weight quantizer."""

    @property
    def columns(self) -> bool:
        """Whether weights are in units of their columns too."""
        return False

    def evenly(self, bits: int) -> bool:
        """Whether points of so many bits, of weights and inputs, are evenly spaced instead of selected."""
        del bits
        return False

    @property
    @abstractmethod
    def compensates(self) -> bool:
        """Whether layers are quantized one after the other, each on what the quantized network gives it."""

    @property
    @abstractmethod
    def goes_by_sensitivity(self) -> bool:
        """Whether it matters how the network's output reacts to errors in the layers."""

    def rehearses(self, plan: Plan) -> bool:
        """Whether layers are quantized twice under ``plan``, the second time by how the quantized network reacts to
        errors."""
        del plan
        return False

    @property
    def quantizes_operands(self) -> bool:
        """Whether the operands of attention's products are quantized, at ``a_bits``."""
        return self.scope != "body"

    @property
    def goes_to_extremes(self) -> bool:
        """Whether ranges are to hold vivid colours too."""
        return False

    @property
    def folds(self) -> bool:
        """Whether factors of channels are folded into layers, those that stay in full precision among them."""
        return False

    @property
    def engine(self) -> str:
        """By whose integers the time is reckoned that layers take."""
        return "openvino"

    @abstractmethod
    def observer(self, layer: nn.Module, extremes: ChannelRanges | None = None) -> Observer:
        """An observer for the input of ``layer``; ranges are to hold ``extremes`` too, whatever is observed."""

    @abstractmethod
    def input_quantizer(
        self, layer: nn.Module, observer: Observer, bits: int, sensitivity: Sensitivity | None
    ) -> InputQuantizer:
        """The quantizer for the input that ``observer`` has seen; ``sensitivity`` tells which of its channels count."""

    def output_quantizer(self, layer: Layer, inputs: Iterable[Tensor], bits: LayerBits) -> AffineQuantizer | None:
        """The quantizer for what ``layer`` makes of ``inputs``, where ``bits`` say that it has one."""
        del layer, inputs, bits
        return None

    def refined(
        self,
        run: Calibration,
        plan: Plan,
        batches: Sequence[Tensor],
        sensitivities: Mapping[str, Sensitivity],
        progress: Progress,
    ) -> Plan:
        """``plan``, changed by what is known of the network once ``sensitivities`` are measured."""
        del run, batches, sensitivities, progress
        return plan

    def prepared(
        self, model: SRModel, plan: Plan, batches: Sequence[Tensor], sensitivities: Mapping[str, Sensitivity]
    ) -> Mapping[str, Sensitivity]:
        """Change a copy of the model so that it rounds better, its output as before; the sensitivities that it then
        has."""
        del model, plan, batches
        return sensitivities

    def has_points(self, bits: int) -> bool:
        """Whether there are as many points as ``bits`` ask for."""
        return self._points(bits) >= 1 << bits

    def check_points(self) -> None:
        """Raise :class:`UsageError` where there are fewer points than the bits ask for."""
        outside = self.outside_bits if self.scope == "all" else None  # else only weights have so many
        for each in (self.w_bits, self.a_bits, outside, *(bits for _, bits in self.layer_bits)):
            if each is not None and not self.has_points(each):
                raise UsageError(
                    f"{each} bits need {2**each} points, but {self.universal_set.words} words make only "
                    f"{self._points(each)}; use more words"
                )

    def _points(self, bits: int) -> int:
        universal = self.universal_set
        return 2 * universal.denominator + 1 if self.evenly(bits) else len(universal)
