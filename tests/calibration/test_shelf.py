"""Tensors that wait in a file come back as they were, whoever uses them."""

import errno
import gc
import io
import os
import sys
import tempfile
import threading
from pathlib import Path

import pytest
import torch
from torch import Tensor

from calibration.shelf import Shelf, scratch_folder
from dfsq.errors import DfsqError

MEGABYTE = 1 << 18
"""Values of four bytes."""


def here(*tensors: Tensor) -> list[bool]:
    """Whether each is in memory. To ask that within a shelf is to use them."""
    return [each.untyped_storage().nbytes() > 0 for each in tensors]


def test_what_exceeds_the_limit_goes_and_comes_back_when_it_is_used() -> None:
    shelf = Shelf(2 << 20)
    with shelf:
        tensors = [torch.full((MEGABYTE,), float(value)) for value in range(5)]
    shelf.tidy()
    assert here(*tensors) == [True, True, False, False, False]  # the last used go first
    with shelf:
        assert (tensors[4] + tensors[3]).eq(7).all()
    assert here(*tensors) == [True, True, False, True, True]
    shelf.tidy()
    assert sum(here(*tensors)) == 2
    with shelf:
        for value, each in enumerate(tensors):
            assert each.eq(value).all()


def test_views_share_what_they_lie_in() -> None:
    shelf = Shelf(0)
    with shelf:
        x = torch.arange(4 * MEGABYTE).view(4, -1)
        first, last = x[0], x[3]
        del x
        shelf.tidy()
        first.add_(1)
        shelf.tidy()
    assert here(first, last) == [False, False]
    with shelf:
        assert int(last[0]) == 3 * MEGABYTE
        assert int(first[0]) == 1


def test_parameters_small_tensors_and_those_from_elsewhere_stay() -> None:
    before = torch.ones(MEGABYTE)
    shelf = Shelf(0)
    with shelf:
        parameter = torch.nn.Parameter(before)
        small = torch.zeros(8)
    shelf.tidy()
    assert here(before, parameter, small) == [True, True, True]


def test_whoever_reads_without_entering_is_given_copies() -> None:
    shelf = Shelf(0)
    with shelf:
        x = torch.arange(MEGABYTE).view(2, -1).T
        small_one = torch.ones(3)
    shelf.tidy()
    ((found,), few, name) = shelf.read([{"x": (x,)}["x"], small_one, "name"])
    assert here(x) == [False]
    assert found.stride() == x.stride()
    assert torch.equal(found, torch.arange(MEGABYTE).view(2, -1).T)
    assert few is small_one
    assert name == "name"
    found.zero_()
    with shelf:
        assert torch.equal(x, torch.arange(MEGABYTE).view(2, -1).T)


def test_threads_that_work_at_a_time_share_a_file() -> None:
    shelf = Shelf(0)
    for _ in range(5):
        with shelf:
            tensors = [torch.full((MEGABYTE // 4,), float(value)) for value in range(16)]
        shelf.tidy()
        wrong: list[int] = []

        def work(first: int, tensors: list[Tensor] = tensors, wrong: list[int] = wrong) -> None:
            with shelf:
                wrong.extend(value for value in range(first, 16) if not tensors[value].eq(value).all())

        threads = [threading.Thread(target=work, args=(first,)) for first in (0, 0, 5, 9)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert not wrong


def test_tensors_of_another_thread_are_found() -> None:
    shelf, found = Shelf(0), list[Tensor]()

    def work() -> None:
        with shelf:
            found.append(torch.ones(MEGABYTE))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    shelf.tidy()
    assert here(found[0]) == [False]
    with shelf:
        assert found[0].sum() == MEGABYTE


def test_the_file_does_not_grow_where_tensors_come_and_go() -> None:
    shelf = Shelf(0)
    with shelf:
        for value in range(20):
            x = torch.full((MEGABYTE,), value)
            shelf.tidy()
            assert x.eq(value).all()
            del x
            gc.collect()
    assert shelf._file is not None
    assert shelf._file._end <= 4 << 20


def test_a_disk_that_is_full_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.BytesIO):
        def write(self, _data: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: Full())
    shelf = Shelf(0)
    with shelf:
        x = torch.ones(MEGABYTE)
    with pytest.raises(DfsqError, match="No space left on device; set TMPDIR"):
        shelf.tidy()
    assert x.sum() == MEGABYTE


def test_the_file_lies_on_a_disk_or_where_the_user_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)  # where tempfile remembers its place
    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.delenv(name, raising=False)
    disk = tmp_path / "disk"
    disk.mkdir()
    monkeypatch.setattr("calibration.shelf._DISK", str(disk))
    assert scratch_folder() == str(disk)
    with Shelf(0) as shelf:
        kept = torch.ones(MEGABYTE)
        shelf.tidy()
    assert here(kept) == [False]
    if sys.platform == "linux":
        opened = [os.path.realpath(each) for each in Path("/proc/self/fd").iterdir()]
        assert any(each.startswith(str(disk)) for each in opened)
    monkeypatch.setattr("calibration.shelf._DISK", str(tmp_path / "none"))
    assert scratch_folder() == tempfile.gettempdir()
    monkeypatch.setattr("calibration.shelf._DISK", str(disk))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert scratch_folder() == str(tmp_path)
