"""Activations in one range per tensor, which is fixed before the network runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from calibration.methods.planned import Planned
from calibration.progress import Progress
from calibration.recipes.choice import choice
from dfsq import limits

if TYPE_CHECKING:
    from torch import Tensor

    from calibration.methods.run import Calibration
    from calibration.planning import Plan
    from calibration.sensitivity import Sensitivity

FLOAT_SHARE = "of the time at most, in full precision where that helps most for it"


@dataclass(frozen=True, kw_only=True)
class ByTensor(Planned):
    """What integers and other fixed ranges have in common."""

    granularity: ClassVar[str] = "tensor"

    compensation: bool = choice(False, "layers one after the other, on quantized inputs")
    float_share: float = choice(0.0, FLOAT_SHARE, limits=limits.SHARE)

    @property
    def compensates(self) -> bool:
        """Whether layers are quantized one after the other, each on what the quantized network gives it."""
        return self.compensation

    @property
    def goes_by_sensitivity(self) -> bool:
        """Whether it matters how the network's output reacts to errors in the layers."""
        return self.compensation or bool(self.float_share)

    def refined(
        self,
        run: Calibration,
        plan: Plan,
        batches: Sequence[Tensor],
        sensitivities: Mapping[str, Sensitivity],
        progress: Progress,
    ) -> Plan:
        """``plan`` without the layers that do best in full precision."""
        del progress
        return run.without_costliest(plan, batches, sensitivities, self.float_share)
