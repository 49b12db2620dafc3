"""Recipes: every choice of a quantization run in one place, echoed whole into the artifact."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from calibration.selection import SELECTORS
from calibration.weights import METHODS
from dfsq.errors import UsageError
from dfsq.quantizers.universal import UniversalSet

MIN_BITS, MAX_BITS = 2, 8
SCOPES = ("body", "all")
GRANULARITIES = ("channel", "tensor")


@dataclass(frozen=True)
class Recipe:
    """How to quantize: methods, bits and calibration data. The defaults are the recipe ``fast``.

    Raises :class:`UsageError` for a value out of range.
    """

    name: str = "fast"
    w_bits: int = 4
    """Bits of the weights in body scope, 2…8."""
    a_bits: int = 4
    """Bits of the activations in body scope, 2…8."""
    avg_bits: float | None = None
    """Average bits that are distributed over the layers in body scope, 2…8; None: ``w_bits`` and ``a_bits`` for all."""
    weights: str = "subset"
    """Weight quantizer: ``minmax`` (paper), ``mse`` or ``subset``."""
    compensation: bool = False
    """Quantize layers in execution order, each compensating for its own rounding and for the layers before it."""
    feedback: bool = False
    """Round the channels of a pixel one after the other, so that errors cancel in the network's output."""
    granularity: str = "channel"
    """Activations are normalized by every sample's ``channel`` (paper), or a fixed range of the whole ``tensor``."""
    selector: str = "exact"
    """Selection of quantization points: ``exact``, ``kmeans`` (paper) or ``exhaustive``.

    Or a grid: ``minmax``, ``percentile``, ``mse`` or ``log2``.
    """
    restarts: int = 5
    """Restarts per channel of ``kmeans``."""
    headroom: float | None = 1.5
    """Activations saturate beyond this multiple of the largest spread that calibration saw in their channel; None:
    never (paper)."""
    words: int = 4
    """Words of the universal set, 1…5 (paper: 4)."""
    outside_bits: int | None = 8
    """Bits of the weights outside the body scope, where activations stay in full precision; None: full precision."""
    scope: str = "body"
    """``body`` (paper), or ``all``: activations outside the body are quantized too, to ``outside_bits``."""
    patches: int = 32
    """Number of calibration patches."""
    patch_size: int = 192
    """Height and width of a patch in HR pixels; the network sees this over its scale."""
    seed: int = 0
    skip: tuple[str, ...] = ()
    """Shell-style patterns of layers that stay in full precision."""
    layer_bits: tuple[tuple[str, int], ...] = ()
    """Pattern and bits, for weights and activations alike, of layers that differ; the last match counts."""

    def __post_init__(self) -> None:
        _check_types(self)
        widths = {"w_bits": self.w_bits, "a_bits": self.a_bits, "outside_bits": self.outside_bits or MIN_BITS}
        widths |= {f"layer_bits {pattern!r}": bits for pattern, bits in self.layer_bits}
        for what, bits in widths.items():
            if not MIN_BITS <= bits <= MAX_BITS:
                raise UsageError(f"{what} is {bits}; choose {MIN_BITS} to {MAX_BITS} bits")
        for what, value, known in (
            ("selector", self.selector, SELECTORS),
            ("weights", self.weights, METHODS),
            ("scope", self.scope, SCOPES),
            ("granularity", self.granularity, GRANULARITIES),
        ):
            if value not in known:
                raise UsageError(f"unknown {what} {value!r}; known: {', '.join(known)}")
        if self.avg_bits is not None and not MIN_BITS <= self.avg_bits <= MAX_BITS:
            raise UsageError(f"avg_bits is {self.avg_bits}; choose {MIN_BITS} to {MAX_BITS}")
        if self.granularity == "tensor" and (self.feedback or self.avg_bits is not None):
            raise UsageError("feedback and avg_bits go by channels; granularity tensor has none")
        if self.scope == "all" and self.outside_bits is None:
            raise UsageError("scope all needs outside_bits for the layers outside the body; 8 is usual")
        least = {"restarts": 1, "patches": 1, "patch_size": 1}
        least |= {"headroom": 1} if self.headroom is not None else {}
        for what, limit in least.items():
            if getattr(self, what) < limit:
                raise UsageError(f"{what} is {getattr(self, what)}; it must be at least {limit}")
        points = len(self.universal_set)
        most = max([self.w_bits, self.a_bits, *(bits for _, bits in self.layer_bits)])
        if 2**most > points:
            raise UsageError(
                f"{most} bits need {2**most} points, but {self.words} words make only {points}; use more words"
            )

    @property
    def universal_set(self) -> UniversalSet:
        """The set that quantization points are selected from."""
        return UniversalSet(self.words)

    def to_dict(self) -> dict[str, Any]:
        """JSON form with every field."""
        return asdict(self)


def _check_types(recipe: Recipe) -> None:
    """Raise :class:`UsageError` for a value of another type than its field's."""
    for name, hint in get_type_hints(Recipe).items():
        value = getattr(recipe, name)
        kinds = tuple(get_origin(each) or each for each in (get_args(hint) if isinstance(hint, UnionType) else (hint,)))
        allowed = (*kinds, int) if float in kinds else kinds
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in kinds):
            expected = " or ".join("none" if kind is NoneType else kind.__name__ for kind in kinds)
            raise UsageError(f"{name} is {value!r}; it must be {expected}")
