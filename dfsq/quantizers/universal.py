"""The universal set that quantization points are selected from (DFSQ §3.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Any

from dfsq.errors import UsageError
from dfsq.limits import WORDS

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class UniversalSet:
    """All values ±(w₁ + … + w_W) / W where word wᵢ is 0, 1, 2⁻ⁱ or 2⁻⁽ⁱ⁺ᵂ⁾ (DFSQ Eq. 8, there with W = 4).

    Elements are kept as integer ``numerators`` over one ``denominator``, so that every comparison between them is
    exact. The midpoint of two elements is a multiple of 1 / (2 · denominator): values that share a bin of that width
    have the same nearest element, whichever subset is chosen. This is what makes lookup tables and histograms lossless.
    """

    words: int = 4
    """Number of words W, 1…5."""

    def __post_init__(self) -> None:
        if not WORDS.allow(self.words):
            raise UsageError(f"a universal set of {self.words} words; choose {WORDS}")

    @property
    def denominator(self) -> int:
        """What the numerators are divided by: W · 2²ᵂ, 1024 for the paper's four words."""
        return self.words << 2 * self.words

    @property
    def bins(self) -> int:
        """Number of bins of width 1 / (2 · denominator) that cover −1…1: 4096 for the paper's four words."""
        return 4 * self.denominator

    @cached_property
    def numerators(self) -> Tensor:
        """The elements times ``denominator``, ascending: int64 ``(|U|,)``; 377 elements for four words."""
        import torch  # recipes, which are read without, ask how many elements there are

        return torch.tensor(self._elements)

    @cached_property
    def _elements(self) -> tuple[int, ...]:
        one = 4**self.words
        choices = [(0, one, one >> i, one >> (i + self.words)) for i in range(1, self.words + 1)]
        positive = {sum(words) for words in product(*choices)}
        return tuple(sorted(positive | {-value for value in positive}))

    def __len__(self) -> int:
        return len(self._elements)

    @property
    def index_bits(self) -> int:
        """Bits that hold the index of an element: 9 for 377 elements."""
        return (len(self) - 1).bit_length()

    def values(self, numerators: Tensor) -> Tensor:
        """Turn integer numerators of any shape into float32 values in −1…1."""
        return (numerators.double() / self.denominator).float()

    def to_dict(self) -> Mapping[str, Any]:
        """JSON form, read back by ``UniversalSet(**d)``."""
        return {"words": self.words}
