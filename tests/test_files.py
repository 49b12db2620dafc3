"""Files are written whole or not at all, keep their modes and links, and replace nothing but files."""

import fcntl
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dfsq.errors import DfsqError, UsageError
from dfsq.files import check_writable, read_small, write_atomically


def test_content_and_nothing_beside_it(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a", b"old")
    write_atomically(tmp_path / "a", "new ×")
    assert (tmp_path / "a").read_bytes() == b"new \xc3\x97"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o755])
def test_a_file_that_is_replaced_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "a"
    path.touch()
    path.chmod(mode)
    write_atomically(path, b"new")
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_new_file_has_the_mode_of_any_other(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a", b"")
    (tmp_path / "b").touch()
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path: Path, exists: bool) -> None:
    (tmp_path / "there").mkdir()
    target = tmp_path / "there" / "target"
    if exists:
        target.write_bytes(b"old")
    (tmp_path / "link").symlink_to(target)
    write_atomically(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert target.read_bytes() == b"new"


def pipe(path: Path) -> None:
    os.mkfifo(path)


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(path.parent)  # the name of a socket is short
        server.bind(path.name)


SPECIAL: dict[str, tuple[Callable[[Path], object], str]] = {
    "pipe": (pipe, "it is a pipe"),
    "socket": (listening, "it is a socket"),
    "device": (lambda path: path.symlink_to("/dev/null"), "it is a device"),
    "link to a pipe": (lambda path: (pipe(path.with_name("p")), path.symlink_to("p")), "it is a pipe"),
    "folder": (Path.mkdir, "it is a folder"),
    "circle": (lambda path: path.symlink_to(path), "symbolic links"),
}


@pytest.mark.parametrize("kind", SPECIAL)
def test_what_is_no_file_is_neither_replaced_nor_read(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make, reason = SPECIAL[kind]
    path = tmp_path / "a"
    make(path)
    before = os.lstat(path)
    for write in (check_writable, lambda path: write_atomically(path, b"new")):
        with pytest.raises(DfsqError, match=reason):
            write(path)
    with pytest.raises(UsageError, match=f"cannot read the report .*{reason}"):
        read_small(path, 100, "report")
    assert os.lstat(path) == before


def test_names_as_long_as_the_system_allows(tmp_path: Path) -> None:
    write_atomically(tmp_path / ("n" * 255), b"")
    with pytest.raises(DfsqError, match="name too long"):
        write_atomically(tmp_path / ("n" * 256), b"")


def test_texts_with_names_that_are_no_utf8(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a", os.fsdecode(b"a\xff"))
    assert (tmp_path / "a").read_text(encoding="utf-8") == "a\\udcff"


def test_large_files_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    assert read_small(tmp_path / "a", 5, "recipe") == b"12345"
    with pytest.raises(UsageError, match="larger than 4e-06 MB"):
        read_small(tmp_path / "a", 4, "recipe")
    with pytest.raises(UsageError, match="cannot read the recipe .*: No such file"):
        read_small(tmp_path / "b", 4, "recipe")


@contextmanager
def held(path: Path) -> Iterator[None]:
    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def test_what_killed_processes_left_is_removed_but_nothing_else(tmp_path: Path) -> None:
    left, living = (tmp_path / f".dfsq-{name}.partial" for name in ("left", "living"))
    others = [tmp_path / name for name in (".a.partial", "dfsq-x.partial", ".dfsq-x.partial.txt", "a.partial")]
    for each in (left, *others):
        each.write_bytes(b"half")
    (tmp_path / ".dfsq-link.partial").symlink_to(others[0])
    (tmp_path / ".dfsq-folder.partial").mkdir()
    with held(living):
        write_atomically(tmp_path / "a", b"")
        assert living.exists()
    assert not left.exists()
    assert all(each.read_bytes() == b"half" for each in others)
    write_atomically(tmp_path / "a", b"")
    assert not living.exists()


def test_processes_that_write_into_one_folder_do_not_disturb_each_other(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom dfsq.files import write_atomically\n"
        "for _ in range(150): write_atomically(Path(sys.argv[1]), sys.argv[2].encode() * 9999)"
    )
    runs = [subprocess.Popen([sys.executable, "-c", script, tmp_path / "a", name]) for name in "xyz"]
    assert [run.wait(60) for run in runs] == [0, 0, 0]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() in [name * 9999 for name in (b"x", b"y", b"z")]
