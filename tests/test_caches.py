"""Compiled code lies where nobody else can replace it."""

import os
import stat
from pathlib import Path

import pytest

from dfsq.caches import private_folder
from dfsq.errors import DfsqError


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def test_it_is_the_users_alone_also_where_it_was_not(cache: Path) -> None:
    assert private_folder("code") == cache / "dfsq" / "code"
    (cache / "dfsq" / "code").chmod(0o777)
    assert stat.S_IMODE(private_folder("code").stat().st_mode) == 0o700


def test_a_link_is_refused(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    (cache / "dfsq").mkdir()
    (cache / "dfsq" / "code").symlink_to(tmp_path_factory.mktemp("elsewhere"))
    with pytest.raises(DfsqError, match="is a link; set XDG_CACHE_HOME"):
        private_folder("code")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_refused(cache: Path) -> None:
    os.chown(private_folder("code"), 12345, -1)
    with pytest.raises(DfsqError, match="belongs to another user"):
        private_folder("code")


def test_a_place_that_cannot_be_used_says_so(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cache / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache / "file"))
    with pytest.raises(DfsqError, match="no folder for compiled code"):
        private_folder("code")
