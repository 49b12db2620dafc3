"""Process-wide settings that make torch faster on a CPU. The command line applies them; a library caller may."""

from __future__ import annotations

import ctypes
import platform

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # parameters of mallopt(3)


def keep_freed_memory() -> None:
    """Let the C library keep freed memory for the next tensor instead of returning it to the system.

    Every large activation is otherwise mapped afresh and paid for page by page, which makes a quantized forward pass on
    a CPU up to four times slower. Has no effect outside glibc.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
