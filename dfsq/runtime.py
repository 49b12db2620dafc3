"""Process-wide settings that make torch faster. The command line applies them; a library caller may."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from mmap import PAGESIZE
from pathlib import Path

import torch

from dfsq.quantizers import fused, native

_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8  # parameters of mallopt(3)


def keep_freed_memory() -> None:
    """Let the C library keep freed memory for the next tensor instead of returning it to the system.

    Every large activation is otherwise mapped afresh and paid for page by page, which makes a quantized forward pass on
    a CPU up to four times slower. All threads share what is kept. Has no effect outside glibc.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_ARENA_MAX, 1)
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def return_freed_memory(beyond: int) -> None:
    """Give memory that the C library has kept back to the system, where the process holds more than ``beyond`` bytes.

    Has no effect outside Linux and glibc.
    """
    if platform.libc_ver()[0] == "glibc" and _resident() > beyond:
        ctypes.CDLL(None).malloc_trim(0)


def _resident() -> int:
    """Bytes of this process in memory; 0 where that is not known."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * PAGESIZE
    except OSError:
        return 0


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch work in one thread meanwhile: threads wait for one another longer than small operations take."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def compile_quantizers(device: str = "cpu") -> None:
    """Quantize activations by compiled code from now on: by C on a CPU, by ``torch.compile`` elsewhere.

    Takes a second, and elsewhere some more for every number of points. Raises what is raised where there is no compiler
    for ``device``, and changes nothing then.
    """
    if torch.device(device).type == "cpu":
        native.build()
    else:
        fused.build(device)


def rounded_by() -> str:
    """What quantizes activations now; where errors are fed back the last bits differ from one to the other."""
    if native.library is not None:
        return "compiled C code"
    return "torch.compile" if fused.ready else "torch's operators"


@contextmanager
def compiled_quantizers(device: str = "cpu") -> Iterator[None]:
    """Quantize activations by compiled code meanwhile, where there is a compiler."""
    before = native.library, fused.ready
    with suppress(Exception):  # what is raised differs between compilers
        if native.library is None or device != "cpu":
            compile_quantizers(device)
    try:
        yield
    finally:
        native.library, fused.ready = before


@contextmanager
def without_compiled_code() -> Iterator[None]:
    """Quantize activations by torch's own operators meanwhile."""
    before = native.library, fused.ready
    native.library, fused.ready = None, False
    try:
        yield
    finally:
        native.library, fused.ready = before
