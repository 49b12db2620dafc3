"""The C code takes addresses on trust: what its callers check, and that it stays within its arrays."""

import ctypes
import errno
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from dfsq.nn import ErrorFeedback
from dfsq.quantizers import native
from dfsq.quantizers.lookup import Lookup
from dfsq.quantizers.universal import UniversalSet

HERE = Path(__file__).parent
UNIVERSAL = UniversalSet()
CHANNELS = 6


@pytest.fixture(scope="module")
def library() -> Iterator[ctypes.CDLL]:
    before = native.library
    try:
        native.build()
    except RuntimeError as error:
        pytest.skip(str(error))
    assert native.library is not None
    yield native.library
    native.library = before


@pytest.fixture
def built(library: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "library", library)


@pytest.mark.parametrize("vectors", [(), pytest.param(("-march=native",), marks=pytest.mark.slow)])
def test_stays_within_its_arrays_whatever_the_arguments(tmp_path: Path, vectors: tuple[str, ...]) -> None:
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("no gcc")
    flags = ["-O1", "-g", "-fsanitize=address", "-fno-omit-frame-pointer"]
    sources = [f"-I{Path(native.__file__).parent}", str(HERE / "address_sanitizer.c")]
    program = tmp_path / "program"
    command = [compiler, *flags, *vectors, "-fopenmp-simd", *sources, "-o", str(program), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if done.returncode:
        if "asan" in done.stderr or "march" in done.stderr:
            pytest.skip(f"gcc has no sanitizers: {done.stderr.splitlines()[-1]}")
        pytest.fail(done.stderr)
    done = subprocess.run([program], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def call(**changes: object) -> torch.Tensor:
    points = torch.stack([UNIVERSAL.numerators[100:260:10]] * CHANNELS)
    feedback = ErrorFeedback(torch.randperm(CHANNELS), torch.randn(CHANNELS, CHANNELS) / 8)
    arguments: dict[str, object] = {
        "samples": torch.randn(2, 200, CHANNELS),
        "signed": True,
        "lookup": Lookup(points, UNIVERSAL),
        "fixed": None,
        "limit": torch.ones(CHANNELS),
        "order": feedback.order,
        "shares": feedback.shares,
    }
    return native.quantize(**{**arguments, **changes})  # type: ignore[arg-type]


def test_what_fits_together_is_quantized(built: None) -> None:
    assert call().isfinite().all()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("samples", torch.randn(2, CHANNELS, 200).transpose(1, 2)),
        ("samples", torch.randn(2, 200, CHANNELS, dtype=torch.float64)),
        ("samples", torch.randn(2, 200, CHANNELS + 1)),
        ("samples", torch.randn(2, 63, CHANNELS)),
        ("fixed", torch.ones(1)),
        ("fixed", torch.ones(2, CHANNELS, dtype=torch.float16)),
        ("fixed", torch.ones(2)),
        ("limit", torch.ones(1)),
        ("limit", torch.ones(2 * CHANNELS)[::2]),
        ("order", torch.arange(1, dtype=torch.int32)),
        ("order", torch.arange(CHANNELS)),
        ("order", torch.arange(1, CHANNELS + 1, dtype=torch.int32)),
        ("order", torch.arange(-1, CHANNELS - 1, dtype=torch.int32)),
        ("shares", torch.ones(CHANNELS, CHANNELS - 1)),
        ("shares", None),
    ],
)
def test_what_does_not_fit_is_refused_by_name(built: None, name: str, value: torch.Tensor | None) -> None:
    with pytest.raises(
        ValueError, match="values is|samples is|a sample has|fixed is|limit is|order is|shares is|impossible"
    ):
        call(**{name: value})


def compiler(folder: Path, text: str) -> str:
    path = folder / "compiler"
    path.write_text(f"#!{sys.executable}\n{text}")
    path.chmod(0o755)
    return str(path)


def test_a_compiler_with_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, built: None) -> None:
    wrapper = compiler(tmp_path, "import os, sys\nos.execvp(sys.argv[1], sys.argv[1:])")
    monkeypatch.setenv("CC", f"{wrapper} cc")
    monkeypatch.setattr(native, "library", None)
    native.build()
    assert call().isfinite().all()


def test_what_was_compiled_is_kept_for_the_same_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(native, "library", None)
    counting = "import os, sys\nopen(sys.argv[0] + '.runs', 'a').write('.')\nos.execvp('cc', ['cc', *sys.argv[1:]])"
    monkeypatch.setenv("CC", compiler(tmp_path, counting))
    for _ in range(3):
        native.build()
    assert Path(tmp_path / "compiler.runs").read_text() == "."
    (kept,) = (tmp_path / "cache" / "dfsq" / "native").iterdir()
    monkeypatch.setenv("CC", "cc")
    native.build()
    assert len([*kept.parent.iterdir()]) == 2
    assert call().isfinite().all()


def test_what_was_kept_and_cannot_be_loaded_is_compiled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(native, "library", None)
    native.build()
    (kept,) = (tmp_path / "dfsq" / "native").iterdir()
    kept.unlink()  # not written over: it is loaded
    kept.write_bytes(b"cut off")
    native.build()
    assert call().isfinite().all()


def test_without_a_folder_for_it_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(native, "library", None)
    native.build()
    assert call().isfinite().all()


def test_what_others_could_write_is_compiled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(native, "library", None)
    native.build()
    (kept,) = (tmp_path / "dfsq" / "native").iterdir()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o700
    before = kept.stat().st_ino
    kept.chmod(0o722)
    native.build()
    assert (stat.S_IMODE(kept.stat().st_mode), kept.stat().st_ino == before) == (0o700, False)


def test_what_cannot_be_kept_is_loaded_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home that is full: what is kept there is the one thing that is written."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(native, "library", None)
    full(monkeypatch)
    native.build()
    assert call().isfinite().all()
    assert [*(tmp_path / "dfsq" / "native").iterdir()] == []


def full(monkeypatch: pytest.MonkeyPatch) -> None:
    def copy(source: Path, to: Path) -> None:
        to.write_bytes(b"cut off")
        raise OSError(errno.ENOSPC, "No space left on device", str(to))

    monkeypatch.setattr(shutil, "copyfile", copy)


def test_what_cannot_be_loaded_is_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever goes on without it catches RuntimeError."""
    nothing = "import sys\nopen(sys.argv[sys.argv.index('-o') + 1], 'w').write('no program')"
    monkeypatch.setenv("CC", compiler(tmp_path, nothing))
    monkeypatch.setattr(native, "library", None)
    with pytest.raises(RuntimeError, match="what .*compiler makes cannot be used"):
        native.build()


def test_a_compiler_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", compiler(tmp_path, "import time\ntime.sleep(60)"))
    monkeypatch.setattr("dfsq.quantizers.native.compiler._PATIENCE", 0.5)
    monkeypatch.setattr(native, "library", None)
    with pytest.raises(RuntimeError, match="timed out"):
        native.build()
    assert native.library is None
