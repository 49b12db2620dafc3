"""C code compiled where it runs, by whatever compiler is there."""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import subprocess
from importlib.resources import as_file, files
from pathlib import Path
from tempfile import TemporaryDirectory

_PATIENCE = 30
"""Seconds that a compiler may take."""
_FLAGS = ("-O3", "-ffp-contract=off", "-shared", "-fPIC")
"""No contraction: a product and a sum are rounded one after the other, as by torch's own operators."""
_BEST_FIRST = (("-march=native", "-fopenmp"), ("-march=native", "-fopenmp-simd"), ("-fopenmp-simd",))
"""Not every compiler knows the processor, or comes with threads."""


def compiled(package: str, source: str) -> ctypes.CDLL:
    """Compile the file ``source`` of ``package`` and load it.

    Raises RuntimeError where there is no C compiler, or it fails.
    """
    own = os.environ.get("CC", "")
    named = [[own], shlex.split(own), ["cc"], ["gcc"], ["clang"]]
    compiler = next((each for each in named if each and shutil.which(each[0])), None)
    if compiler is None:
        raise RuntimeError("no C compiler was found; install gcc or clang, or set CC")
    with as_file(files(package)) as sources, TemporaryDirectory() as folder:
        built = Path(folder) / "kernel.so"
        for variant in _BEST_FIRST:
            done = _run([*compiler, *_FLAGS, *variant, str(sources / source), "-o", str(built)])
            if done.returncode == 0:
                return ctypes.CDLL(str(built))
    raise RuntimeError(f"{shlex.join(compiler)} failed: {' '.join(done.stderr.split())[:200]}")


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL, timeout=_PATIENCE
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RuntimeError(f"{command[0]} failed: {error}") from error
