"""Watching operators below modules and functions."""

from __future__ import annotations

from torch.utils._python_dispatch import TorchDispatchMode


class DispatchMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """What every mode of dfsq derives from: none of them runs inside ``torch.compile``.

    torch keeps its compiler away from the operators of a mode, for which it imports the compiler: more than a second,
    in programs that compile nothing.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False
