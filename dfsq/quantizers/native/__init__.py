"""The C code that quantizes on a CPU, compiled where it runs: statistics and rounding, each one pass over memory."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from importlib.resources import as_file, files
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from dfsq.quantizers.lookup import Lookup
from dfsq.quantizers.normalization import EPSILON

COMPARED = 32
"""Most points that are found by comparing; more are looked up."""
_LEAST = 64
"""Pixels that every thread needs at least."""
_FLAGS = ("-O3", "-ffp-contract=off", "-shared", "-fPIC")
"""No contraction: a product and a sum are rounded one after the other, as by torch's own operators."""
_BEST_FIRST = (("-march=native", "-fopenmp"), ("-march=native", "-fopenmp-simd"), ("-fopenmp-simd",))
"""Not every compiler knows the processor, or comes with threads."""
library: ctypes.CDLL | None = None
"""What :func:`build` has loaded."""


class _Quantizer(ctypes.Structure):
    """The structure of the same name in statistics.h."""

    _fields_ = (
        *((name, ctypes.c_long) for name in ("channels", "points", "bins", "is_signed")),
        *((name, ctypes.c_void_p) for name in ("values", "edges", "table", "fixed", "limit", "order", "shares")),
        ("epsilon", ctypes.c_float),
    )


def build() -> None:
    """Compile and load the code. Raises RuntimeError where there is no C compiler, or it fails."""
    global library
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CC", ""), "cc", "gcc", "clang"))), None)
    if compiler is None:
        raise RuntimeError("no C compiler was found; install gcc or clang, or set CC")
    with as_file(files(__name__)) as sources, TemporaryDirectory() as folder:
        built = Path(folder) / "kernel.so"
        for own in _BEST_FIRST:
            command = [compiler, *_FLAGS, *own, str(sources / "kernel.c"), "-o", str(built)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode == 0:
                break
        else:
            raise RuntimeError(f"{compiler} failed: {' '.join(done.stderr.split())[:200]}")
        loaded = ctypes.CDLL(str(built))
    address, pixels, threads = ctypes.c_void_p, ctypes.c_long, ctypes.c_int
    loaded.memory.argtypes, loaded.memory.restype = (address, threads), ctypes.c_long
    loaded.quantize.argtypes = (address, pixels, address, address, address, threads)
    loaded.quantize.restype = None
    library = loaded


def available(samples: Tensor) -> bool:
    """Whether ``samples`` ``(N, n, C)`` can be quantized here: the code is built, they are in memory, and not tiny."""
    suited = samples.device.type == "cpu" and samples.dtype == torch.float32 and samples.shape[1] >= _LEAST
    return library is not None and suited


def quantize(
    samples: Tensor,
    signed: bool,
    lookup: Lookup,
    fixed: Tensor | None,
    limit: Tensor | None,
    order: Tensor | None,
    shares: Tensor | None,
) -> Tensor:
    """Quantize ``samples`` ``(N, n, C)``, contiguous, as :class:`dfsq.nn.SubsetQuantizer` does; same shape.

    ``order`` and ``shares``: those of :class:`dfsq.nn.ErrorFeedback`, or None.
    """
    if library is None:
        raise RuntimeError("the C code has not been built")
    _, n, channels = samples.shape
    points = len(lookup.values)
    edges, table = (lookup.edges, None) if points <= COMPARED else (None, lookup.table)
    tensors = (lookup.values, edges, table, fixed, limit, order, shares)
    addresses = [None if each is None else each.data_ptr() for each in tensors]
    quantizer = ctypes.byref(_Quantizer(channels, points, lookup.universal.bins, signed, *addresses, EPSILON))
    threads = min(torch.get_num_threads(), n // _LEAST)
    memory = torch.empty(library.memory(quantizer, threads))
    result = torch.empty_like(samples)
    for sample, to in zip(samples, result, strict=True):
        library.quantize(quantizer, n, sample.data_ptr(), to.data_ptr(), memory.data_ptr(), threads)
    return result
