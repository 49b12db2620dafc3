"""Compiled code lies where nobody else can replace it."""

import grp
import os
import pwd
import stat
from pathlib import Path

import pytest

from dfsq.caches import is_untouched, private_folder
from dfsq.errors import DfsqError

root_alone = pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


def test_it_is_the_users_alone_also_where_it_was_readable(cache: Path) -> None:
    assert private_folder("code") == cache / "dfsq" / "code"
    (cache / "dfsq" / "code" / "kept").touch()
    (cache / "dfsq" / "code").chmod(0o755)
    assert stat.S_IMODE(private_folder("code").stat().st_mode) == 0o700
    assert [each.name for each in private_folder("code").iterdir()] == ["kept"]


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o1777])
def test_what_others_can_have_put_there_is_gone(cache: Path, mode: int) -> None:
    folder = private_folder("code")
    (folder / "planted").mkdir()
    (folder / "planted" / "kernel.so").touch()
    folder.chmod(mode)
    assert [*private_folder("code").iterdir()] == []
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_the_folder_above_is_the_users_alone_too(cache: Path) -> None:
    (cache / "dfsq").mkdir()
    (cache / "dfsq").chmod(0o777)
    assert stat.S_IMODE(private_folder("code").parent.stat().st_mode) == 0o700


def test_a_cache_that_is_made_is_the_users_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "new"))
    before = os.umask(0o002)
    try:
        private_folder("code")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


def test_a_link_is_refused(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    (cache / "dfsq").mkdir()
    (cache / "dfsq" / "code").symlink_to(tmp_path_factory.mktemp("elsewhere"))
    with pytest.raises(DfsqError, match="is a link; set XDG_CACHE_HOME"):
        private_folder("code")


@root_alone
@pytest.mark.parametrize("which", ["dfsq", "dfsq/code"])
def test_a_folder_of_another_user_is_refused(cache: Path, which: str) -> None:
    private_folder("code")
    os.chown(cache / which, 12345, -1)
    with pytest.raises(DfsqError, match="belongs to another user"):
        private_folder("code")


def test_a_place_that_others_can_replace_is_refused(cache: Path) -> None:
    cache.parent.chmod(0o777)
    with pytest.raises(DfsqError, match=f"others can write into {cache.parent}; set XDG_CACHE_HOME"):
        private_folder("code")
    cache.parent.chmod(0o1777)  # as /tmp is
    assert private_folder("code").is_dir()


@root_alone
def test_a_place_below_a_folder_of_another_user_is_refused(cache: Path) -> None:
    os.chown(cache.parent, 12345, -1)
    with pytest.raises(DfsqError, match=f"others can write into {cache.parent}"):
        private_folder("code")


def test_the_link_to_a_place_may_be_anywhere(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link").symlink_to(cache)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "link"))
    assert private_folder("code") == cache / "dfsq" / "code"


@root_alone
@pytest.mark.parametrize(
    ("name", "members", "trusted"),
    [("ann", [], True), ("ann", ["ann"], True), ("ann", ["ann", "bob"], False), ("staff", [], False)],
)
def test_the_group_of_a_users_own_name_is_no_other(
    cache: Path, monkeypatch: pytest.MonkeyPatch, name: str, members: list[str], trusted: bool
) -> None:
    """Where umask is 002 folders can be written by a group, which is mostly one of the user alone."""
    os.chown(cache, -1, 12345)
    cache.chmod(0o775)
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: pwd.struct_passwd(("ann", "", uid, 12345, "", "/", "")))
    monkeypatch.setattr(grp, "getgrgid", lambda gid: grp.struct_group((name, "", gid, members)))
    if trusted:
        assert private_folder("code").is_dir()
    else:
        with pytest.raises(DfsqError, match=f"others can write into {cache}"):
            private_folder("code")


@root_alone
def test_a_group_without_a_name_is_one_of_others(cache: Path) -> None:
    os.chown(cache, -1, 2_000_000_000)
    cache.chmod(0o775)
    with pytest.raises(DfsqError, match=f"others can write into {cache}"):
        private_folder("code")


def test_a_place_that_cannot_be_used_says_so(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cache / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache / "file"))
    with pytest.raises(DfsqError, match="no folder for compiled code"):
        private_folder("code")


def test_a_file_is_untouched_where_the_user_alone_can_have_written_it(tmp_path: Path) -> None:
    file = tmp_path / "kernel.so"
    assert not is_untouched(file)
    file.touch(mode=0o600)
    assert is_untouched(file)
    (tmp_path / "link").symlink_to(file)
    assert not is_untouched(tmp_path / "link")
    assert not is_untouched(tmp_path)
    for mode in (0o620, 0o602):
        file.chmod(mode)
        assert not is_untouched(file)
    file.chmod(0o600)
    if os.getuid() == 0:
        os.chown(file, 12345, -1)
        assert not is_untouched(file)
