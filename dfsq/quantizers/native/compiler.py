"""C code compiled where it runs, by whatever compiler is there, once per machine."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
from contextlib import suppress
from importlib.resources import as_file, files
from pathlib import Path
from tempfile import TemporaryDirectory

from dfsq.caches import is_untouched, private_folder
from dfsq.errors import DfsqError

_PATIENCE = 30
"""Seconds that a compiler may take."""
_FLAGS = ("-O3", "-ffp-contract=off", "-shared", "-fPIC")
"""No contraction: a product and a sum are rounded one after the other, as by torch's own operators."""
_BEST_FIRST = (("-march=native", "-fopenmp"), ("-march=native", "-fopenmp-simd"), ("-fopenmp-simd",))
"""Not every compiler knows the processor, or comes with threads."""


def compiled(package: str, source: str) -> ctypes.CDLL:
    """Compile the file ``source`` of ``package`` and load it.

    What was compiled before is kept in the user's cache: for this text, compiler and processor. Raises RuntimeError
    where there is no C compiler, it fails, or what it made cannot be loaded.
    """
    own = os.environ.get("CC", "")
    named = [[own], shlex.split(own), ["cc"], ["gcc"], ["clang"]]
    compiler = next((each for each in named if each and shutil.which(each[0])), None)
    if compiler is None:
        raise RuntimeError("no C compiler was found; install gcc or clang, or set CC")
    try:
        with as_file(files(package)) as sources, TemporaryDirectory() as temporary:
            texts = [each.read_bytes() for each in sorted(sources.iterdir()) if each.suffix in (".c", ".h")]
            key = hashlib.sha256(repr((texts, compiler, _FLAGS, _BEST_FIRST, _processor())).encode()).hexdigest()
            kept = _kept(f"{Path(source).stem}-{key[:32]}.so")
            if kept is not None and is_untouched(kept):
                with suppress(OSError):  # a file that was cut off
                    return ctypes.CDLL(str(kept))
            built = Path(temporary) / "kernel.so"
            _compile(compiler, sources / source, built)
            # From the cache, as some systems execute nothing in /tmp; where that is full, nothing is kept.
            with suppress(OSError):
                if kept is not None:
                    _keep(built, kept)
                    return ctypes.CDLL(str(kept))
            return ctypes.CDLL(str(built))
    except OSError as error:
        raise RuntimeError(f"what {shlex.join(compiler)} makes cannot be used: {error}; set TMPDIR") from error


def _kept(name: str) -> Path | None:
    """Where the file ``name`` is kept; None: there is no folder that nobody else writes into."""
    with suppress(DfsqError):
        return private_folder("native") / name
    return None


def _keep(built: Path, kept: Path) -> None:
    """Put a copy of ``built`` in the place of ``kept``, for the user alone: it is there whole or not at all."""
    unfinished = kept.with_suffix(f".{os.getpid()}")
    try:
        shutil.copyfile(built, unfinished)
        unfinished.chmod(0o700)
        unfinished.replace(kept)
    finally:
        unfinished.unlink(missing_ok=True)


def _compile(compiler: list[str], source: Path, to: Path) -> None:
    """Compile ``source`` as well as it goes."""
    for variant in _BEST_FIRST:
        done = _run([*compiler, *_FLAGS, *variant, str(source), "-o", str(to)])
        if done.returncode == 0:
            return
    raise RuntimeError(f"{shlex.join(compiler)} failed: {' '.join(done.stderr.split())[:200]}")


def _processor() -> str:
    """What the processor is and can do: a home may be that of several machines."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return "\n".join(sorted({each for each in lines if each.startswith(("model", "flags", "Features", "CPU"))}))
    return " ".join((*platform.uname()[4:], platform.processor()))


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL, timeout=_PATIENCE
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RuntimeError(f"{command[0]} failed: {error}") from error
