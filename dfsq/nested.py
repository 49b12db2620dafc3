"""Tensors in arguments and results, however they are nested."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves


def tensors_in(values: Any) -> list[Tensor]:
    """All tensors in lists, tuples and dictionaries, in order."""
    return [each for each in tree_leaves(values) if isinstance(each, Tensor)]
