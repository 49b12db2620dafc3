"""The C code that rounds on a CPU, compiled where it runs: one pass over memory, with or without error feedback."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from dfsq.quantizers.normalization import restored

COMPARED = 32
"""Most points that are found by comparing; more are looked up."""
_FLAGS = ("-O3", "-march=native", "-ffp-contract=off", "-shared", "-fPIC")
"""No contraction: a product and a sum are rounded one after the other, as by torch's own operators."""
_library: ctypes.CDLL | None = None


class _Rounding(ctypes.Structure):
    """The structure of the same name in kernel.c."""

    _fields_ = (
        *((name, ctypes.c_long) for name in ("channels", "points", "bins")),
        *((name, ctypes.c_void_p) for name in ("shift", "spread", "edges", "levels", "table", "order", "shares")),
    )


def build() -> None:
    """Compile and load the code. Raises RuntimeError where there is no C compiler, or it fails."""
    global _library
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CC", ""), "cc", "gcc", "clang"))), None)
    if compiler is None:
        raise RuntimeError("no C compiler was found; install gcc or clang, or set CC")
    with as_file(files("dfsq.quantizers") / "kernel.c") as source, TemporaryDirectory() as folder:
        library = Path(folder) / "kernel.so"
        for threads in (["-fopenmp"], ["-fopenmp-simd"]):  # one thread is better than none
            command = [compiler, *_FLAGS, *threads, str(source), "-o", str(library)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode == 0:
                break
        else:
            raise RuntimeError(f"{compiler} failed: {' '.join(done.stderr.split())[:200]}")
        _library = ctypes.CDLL(str(library))


@contextmanager
def unused() -> Iterator[None]:
    """Do without the code for a while."""
    global _library
    before, _library = _library, None
    try:
        yield
    finally:
        _library = before


def available(x: Tensor) -> bool:
    """Whether ``x`` can be rounded here: the code is built, and the tensor in memory."""
    return _library is not None and x.device.type == "cpu"


def round_pixels(
    x: Tensor,
    shift: Tensor | None,
    spread: Tensor,
    values: Tensor,
    edges: Tensor,
    table: Tensor,
    order: Tensor | None = None,
    shares: Tensor | None = None,
) -> Tensor:
    """As :func:`dfsq.quantizers.lookup.round_to_points`; with ``order`` ``(C,)`` and ``shares`` ``(C, C)`` as
    :class:`dfsq.nn.ErrorFeedback`. Raises MemoryError.
    """
    if _library is None:
        raise RuntimeError("the C code has not been built")
    (n, channels), points = x.shape, len(values)
    order = torch.arange(channels) if order is None else order
    own: list[Tensor | None] = [torch.zeros_like(spread) if shift is None else shift, spread]
    if points <= COMPARED:
        own += [edges, restored(values, shift, spread), None]
    else:
        own += [None, None, restored(table.T, shift, spread).T]
    own += [order.int(), shares]
    kept = [None if each is None else each.contiguous() for each in own]
    addresses = [None if each is None else each.data_ptr() for each in kept]
    rounding = _Rounding(channels, points, table.shape[1], *addresses)
    result = torch.empty_like(x)
    failed = _library.round_pixels(
        ctypes.byref(rounding),
        ctypes.c_long(n),
        ctypes.c_void_p(x.data_ptr()),
        ctypes.c_void_p(result.data_ptr()),
        torch.get_num_threads(),
    )
    if failed:
        raise MemoryError
    return result
