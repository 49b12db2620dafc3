"""What the processor can do, as far as an engine uses it."""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path

_LADDER: tuple[tuple[str, str, frozenset[str]], ...] = (
    # the name here, oneDNN's name, what /proc/cpuinfo has of it
    ("SSE4.1", "SSE41", frozenset({"sse4_1"})),
    ("AVX", "AVX", frozenset({"avx"})),
    ("AVX2", "AVX2", frozenset({"avx2", "fma"})),
    ("AVX2_VNNI", "AVX2_VNNI", frozenset({"avx_vnni"})),
    ("AVX2_VNNI_2", "AVX2_VNNI_2", frozenset({"avx_vnni_int8", "avx_ne_convert"})),
    ("AVX512", "AVX512_CORE", frozenset({"avx512f", "avx512bw", "avx512vl", "avx512dq"})),
    ("AVX512_VNNI", "AVX512_CORE_VNNI", frozenset({"avx512_vnni"})),
    ("AVX512_BF16", "AVX512_CORE_BF16", frozenset({"avx512_bf16"})),
    ("AVX512_FP16", "AVX512_CORE_FP16", frozenset({"avx512_fp16"})),
    ("AMX", "AVX512_CORE_AMX", frozenset({"amx_tile", "amx_int8", "amx_bf16"})),
    ("AMX_FP16", "AVX512_CORE_AMX_FP16", frozenset({"amx_fp16"})),
)
_SUMS_IN_16_BITS = frozenset({"SSE4.1", "AVX", "AVX2", "AVX512"})
"""Where two products of bytes are added up in 16 bits (vpmaddubsw), and what does not fit is cut off."""
_LIMIT = "ONEDNN_MAX_CPU_ISA"


def instruction_set(limited: bool) -> str:
    """The widest set of vector instructions that the processor has, for example ``AVX2`` or ``AMX``.

    ``limited``: of an engine on oneDNN, which stops at the one that the environment names.
    """
    names = [name for name, _, needed in _LADDER if needed <= _flags()]
    if not names:
        return _other()
    best = names[-1]
    limit = next((name for name, theirs, _ in _LADDER if theirs == os.environ.get(_LIMIT, "").upper()), None)
    if limited and limit is not None:
        order = [name for name, _, _ in _LADDER]
        allowed = [name for name in names if order.index(name) <= order.index(limit)]
        best = allowed[-1] if allowed else limit
    return best


def overflows(instructions: str) -> bool:
    """Whether products of an unsigned byte and one beyond ±64 may be cut off with this set of instructions."""
    return instructions in _SUMS_IN_16_BITS


@cache
def _flags() -> frozenset[str]:
    """What Linux says of the processor; nothing elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return frozenset()
    found = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return frozenset(found.partition(":")[2].split())


def _other() -> str:
    """For other systems torch looks; other processors have no ladder."""
    if "sve" in _flags() or "asimd" in _flags():
        return "SVE" if "sve" in _flags() else "NEON"
    import torch

    capability = torch.backends.cpu.get_cpu_capability()
    return platform.machine() if capability in ("DEFAULT", "NO AVX") else capability
