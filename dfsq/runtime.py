"""Process-wide settings that make torch faster. The command line applies them; a library caller may."""

from __future__ import annotations

import ctypes
import functools
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # parameters of mallopt(3)
_VARIANTS = 64
"""Versions of one compiled function: numbers of points, with and without a shift."""
_compiling = False


def keep_freed_memory() -> None:
    """Let the C library keep freed memory for the next tensor instead of returning it to the system.

    Every large activation is otherwise mapped afresh and paid for page by page, which makes a quantized forward pass on
    a CPU up to four times slower. Has no effect outside glibc.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def compile_quantizers(device: str = "cpu") -> None:
    """Quantize activations by code that ``torch.compile`` makes, from now on.

    The first use of every number of points takes some seconds. Raises what torch raises where it finds no compiler for
    ``device``, and changes nothing then.
    """
    global _compiling
    torch.compile(torch.neg)(torch.ones(1, device=device))
    torch._dynamo.config.recompile_limit = _VARIANTS
    _compiling = True


@contextmanager
def without_compiled_code() -> Iterator[None]:
    """For modes that intercept torch's operators, which compiled code does not go through."""
    global _compiling
    before, _compiling = _compiling, False
    try:
        yield
    finally:
        _compiling = before


def compiled(function: Callable[..., Any]) -> Callable[..., Any] | None:
    """The compiled version of ``function``; None before :func:`compile_quantizers`."""
    return _compile(function) if _compiling else None


@functools.cache
def _compile(function: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(function, dynamic=True)
