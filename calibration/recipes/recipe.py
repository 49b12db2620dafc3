"""Recipes: every choice of a quantization run in one place, typed by its method, echoed into the artifact."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, get_type_hints

from calibration.progress import Progress
from calibration.recipes.choice import Choice, choice, choice_of, shown
from dfsq import limits
from dfsq.errors import UsageError
from dfsq.quantizers.universal import UniversalSet

if TYPE_CHECKING:
    from torch import Tensor

    from calibration.images import PatchStream
    from dfsq.model import SRModel

MIN_BITS, MAX_BITS = int(limits.BITS.least), int(limits.BITS.most)

METHODS: dict[str, type[Recipe]] = {}
"""The registered methods by name."""

Kind = TypeVar("Kind", bound="type[Recipe]")

_PATCHES = 32
_LARGE = 2_000_000
"""Parameters of a network that takes minutes as it is."""


@dataclass(frozen=True, kw_only=True)
class Recipe(ABC):
    """A method, and all that it is told: what all methods have in common.

    A method derives from it as a dataclass of the same kind, adds its own choices by :func:`choice`, and registers.
    Raises :class:`UsageError` for a value out of range, and for a choice that means nothing beside the others.
    """

    method: ClassVar[str]
    """The name in METHODS."""

    name: str = choice("unnamed", "what it is called")
    w_bits: int = choice(4, "weights in body scope, 2…8", limits=limits.BITS)
    a_bits: int = choice(4, "activations in body scope, 2…8", limits=limits.BITS)
    patches: int | None = choice(
        None,
        "for calibration; null: 32, at ×3 and ×4 up to 128 where layers compensate and parameters are few",
        limits=limits.PATCHES,
    )
    patch_size: int = choice(192, "HR pixels; the network sees this over its scale", limits=limits.PATCH_SIZE)
    seed: int = choice(0, "of patches and of whatever else is random", limits=limits.SEED)
    skip: tuple[str, ...] = choice((), "patterns of layers that stay in full precision")
    layer_bits: tuple[tuple[str, int], ...] = choice(
        (), "pattern: bits, of weights and activations; the last match counts", limits=limits.BITS
    )

    def __post_init__(self) -> None:
        values = vars(self)
        for name, each in self.choices().items():
            each.check(values[name])
        for name, each in self.choices().items():
            if values[name] != each.default and not each.applies(values):
                raise UsageError(each.needed())

    @abstractmethod
    def quantize(self, model: SRModel, images: PatchStream | Iterable[Tensor], progress: Progress) -> SRModel:
        """What :func:`calibration.quantize` does, for a ``model`` in full precision."""

    @abstractmethod
    def phrase(self) -> str:
        """What the method does, in a few words: ``exact selection, subset weights``."""

    @property
    def gains_by_patches(self) -> bool:
        """Whether more patches than usual are worth their time."""
        return False

    def patches_for(self, model: SRModel) -> int:
        """How many patches ``model`` is calibrated on: where none are told, those of one scale have as many LR pixels
        as of another, up to a point."""
        if self.patches is not None:
            return self.patches
        large = sum(each.numel() for each in model.parameters()) > _LARGE
        scale = 2 if large or not self.gains_by_patches else min(max(model.scale, 2), 4)
        return _PATCHES * scale**2 // 4

    @property
    def avg_bits(self) -> float | None:
        """Bits on average, where the method distributes them over the layers."""
        return None

    @property
    def for_engines(self) -> bool:
        """Whether it makes integers that engines run, whose bits are those that engines take."""
        return False

    @property
    def trains(self) -> bool:
        """Whether it takes steps, in a run that can be interrupted: see :func:`calibration.train`."""
        return False

    @property
    def universal_set(self) -> UniversalSet:
        """The set that quantization points are selected from."""
        return UniversalSet()

    @classmethod
    @cache
    def choices(cls) -> Mapping[str, Choice]:
        """All that the method can be told, by name."""
        hints = get_type_hints(cls)
        return {each.name: choice_of(each, hints[each.name]) for each in fields(cls)}

    @classmethod
    def of(cls, values: Mapping[str, Any], usual: Mapping[str, Any] | None = None) -> Self:
        """The recipe with ``values``, whose other choices are as ``usual``, where they still mean something.

        Raises :class:`UsageError` for a value that the method does not know or that means nothing beside the others.
        """
        choices = cls.choices()
        for key in values:
            if key not in choices:
                raise UsageError(cls._unknown(key))
        kept = {name: value for name, value in (usual or {}).items() if name in choices}
        chosen = {name: each.default for name, each in choices.items()} | kept | dict(values)
        for name, each in choices.items():
            if not each.applies(chosen):
                if name in values:
                    raise UsageError(each.needed())
                chosen[name] = each.default
        return cls(**chosen)

    @classmethod
    def _unknown(cls, key: Any) -> str:
        others = [name for name, method in sorted(METHODS.items()) if key in method.choices()]
        if others:
            return f"`{key}` means nothing to the method {cls.method}, only to {', '.join(others)}"
        near = get_close_matches(str(key), cls.choices(), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(cls.choices())}"
        return f"unknown key {shown(key)}; {hint}"

    def changed(self, **changes: Any) -> Recipe:
        """The recipe with ``changes``; what means nothing beside them is left out. Raises as :meth:`of` does."""
        return self.of(changes, vars(self))

    def to_dict(self) -> dict[str, Any]:
        """JSON form: name, method and every choice that means something."""
        values = vars(self)
        stated = {name: values[name] for name, each in self.choices().items() if each.applies(values)}
        return {"name": self.name, "method": self.method, **stated}


def register(method: Kind) -> Kind:
    """Class decorator that adds a method. Raises ValueError for a name that is taken."""
    if method.method in METHODS:
        raise ValueError(f"there are two methods called {method.method!r}")
    METHODS[method.method] = method
    return method
