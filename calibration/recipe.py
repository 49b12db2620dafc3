"""Recipes: every choice of a quantization run in one place, echoed whole into the artifact."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from reprlib import Repr
from typing import Any, get_type_hints

from calibration.selection import SELECTORS
from calibration.weights import METHODS
from dfsq import limits
from dfsq.errors import UsageError
from dfsq.quantizers.universal import UniversalSet

MIN_BITS, MAX_BITS = int(limits.BITS.least), int(limits.BITS.most)
SCOPES = ("body", "all")
GRANULARITIES = ("channel", "tensor")
TARGETS = ("openvino", "onnxruntime")
_LIMITS = {
    "w_bits": limits.BITS,
    "a_bits": limits.BITS,
    "avg_bits": limits.BITS,
    "outside_bits": limits.BITS,
    "restarts": limits.RESTARTS,
    "headroom": limits.HEADROOM,
    "float_share": limits.SHARE,
    "words": limits.WORDS,
    "patches": limits.PATCHES,
    "patch_size": limits.PATCH_SIZE,
    "seed": limits.SEED,
}


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
    """Weight quantizer: ``minmax`` (paper), ``mse`` or ``subset``; ``symmetric`` for integers that engines run."""
    compensation: bool = False
    """Quantize layers in execution order, each compensating for its own rounding and for the layers before it."""
    feedback: bool = False
    """Round the channels of a pixel one after the other, so that errors cancel in the network's output."""
    granularity: str = "channel"
    """Activations are normalized by every sample's ``channel`` (paper), or a fixed range of the whole ``tensor``."""
    selector: str = "exact"
    """Selection of quantization points: ``exact``, ``kmeans`` (paper) or ``exhaustive``.

    Or a grid: ``minmax``, ``percentile``, ``mse`` or ``log2``; ``equalized`` is one that channels share (integers).
    """
    restarts: int = 5
    """Restarts per channel of ``kmeans``."""
    headroom: float | None = 1.5
    """Activations saturate beyond this multiple of the largest spread that calibration saw in their channel; None:
    never (paper)."""
    words: int = 4
    """Words of the universal set, 1…5 (paper: 4)."""
    outside_bits: int | None = 8
    """Bits of the weights outside the body scope, where activations stay in full precision; None: full precision.

    With ``scope`` all, None means as inside the body.
    """
    scope: str = "body"
    """``body`` (paper), or ``all``: activations outside the body are quantized too, to ``outside_bits``."""
    float_share: float = 0.0
    """Share of the multiply-adds, 0…1, that stays in full precision: where that helps the output most for its time."""
    target: str = "openvino"
    """The engine that is to run the integers: ``onnxruntime`` keeps them from layer to layer."""
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
        for name, allowed in _LIMITS.items():
            _check_range(name, getattr(self, name), allowed)
        for pattern, bits in self.layer_bits:
            _check_range(f"layer_bits {_shown(pattern)}", bits, limits.BITS)
        for what, value, known in (
            ("selector", self.selector, (*SELECTORS, "equalized")),
            ("weights", self.weights, METHODS),
            ("scope", self.scope, SCOPES),
            ("granularity", self.granularity, GRANULARITIES),
            ("target", self.target, TARGETS),
        ):
            if value not in known:
                raise UsageError(f"unknown {what} {_shown(value)}; known: {', '.join(known)}")
        if self.granularity == "tensor" and (self.feedback or self.avg_bits is not None):
            raise UsageError("feedback and avg_bits go by channels; granularity tensor has none")
        if self.selector == "equalized" and self.granularity != "tensor":
            raise UsageError("selector equalized makes one range of all channels; it needs granularity tensor")
        if self.target == "onnxruntime" and not (self.selector == "equalized" and self.compensation):
            raise UsageError("target onnxruntime is for integers: it needs selector equalized and compensation")
        points = len(self.universal_set)
        most = max([self.w_bits, self.a_bits, *(bits for _, bits in self.layer_bits)])
        if 2**most > points:
            raise UsageError(
                f"{most} bits need {2**most} points, but {self.words} words make only {points}; use more words"
            )

    @property
    def for_engines(self) -> bool:
        """Whether it makes integers that engines run, whose bits are those that engines take."""
        return self.weights == "symmetric"

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
        fits, expected = _TYPES[hint]
        if not fits(value):
            raise UsageError(f"{name} is {_shown(value)}; it must be {expected}")


def _check_range(name: str, value: float | None, allowed: limits.Limits) -> None:
    if value is not None and not allowed.allow(value):
        raise UsageError(f"{name} is {_shown(value)}; choose {allowed}")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or _is_whole(value)


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str) and _is_whole(value[1])


_TYPES: dict[Any, tuple[Callable[[Any], bool], str]] = {
    str: (lambda value: isinstance(value, str), "str"),
    bool: (lambda value: isinstance(value, bool), "bool"),
    int: (_is_whole, "int"),
    float: (_is_number, "float"),
    int | None: (lambda value: value is None or _is_whole(value), "int or none"),
    float | None: (lambda value: value is None or _is_number(value), "float or none"),
    tuple[str, ...]: (
        lambda value: isinstance(value, tuple) and all(isinstance(each, str) for each in value),
        "a list of patterns, for example ['body.0.*']",
    ),
    tuple[tuple[str, int], ...]: (
        lambda value: isinstance(value, tuple) and all(map(_is_pair, value)),
        "patterns with whole numbers, for example {'body.0.*': 8}",
    ),
}
"""What a field of each type takes, and how that is called."""


def _shown(value: Any) -> str:
    """``value`` in a message, which is one line whatever it is."""
    return Repr().repr(value)
