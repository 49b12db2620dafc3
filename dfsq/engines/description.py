"""What computed a result. Plain data without torch, so that reports need none."""

from __future__ import annotations

from dataclasses import dataclass

INTEGERS = "int8/"
"""Before the precision of what else a graph of integers holds."""


@dataclass(frozen=True)
class Description:
    """What computed a result: two runs that agree in it should agree in their pictures."""

    engine: str
    """Name in :mod:`dfsq.engines.registry`."""
    version: str
    precision: str
    """What is computed with where the network does not say: ``f32`` or ``bf16``; after ``int8/`` for a
    graph of integers."""
    instructions: str
    """The vector instructions, such as ``AVX2`` or ``AMX``, or the device."""

    @property
    def integers(self) -> bool:
        """Whether a graph of integers was run."""
        return self.precision.startswith(INTEGERS)

    def __str__(self) -> str:
        """``openvino 2026.4.1 (f32, AVX2)``."""
        return f"{self.engine} {self.version} ({self.precision}, {self.instructions})"
