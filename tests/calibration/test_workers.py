"""Threads beside each other, of which each computes in one."""

import threading
from collections.abc import Iterator

import pytest
import torch

from calibration.workers import Workers


@pytest.fixture
def several() -> Iterator[int]:
    """Threads of torch."""
    usual = torch.get_num_threads()
    torch.set_num_threads(3)
    yield 3
    torch.set_num_threads(usual)


def test_a_worker_keeps_to_one_thread_while_another_ends(several: int) -> None:
    workers = Workers(torch.device("cpu"))
    working, ended = threading.Event(), threading.Event()
    found: list[int] = []

    def work() -> None:
        with workers.worker():
            working.set()
            ended.wait()
            found.append(torch.get_num_threads())

    thread = threading.Thread(target=work)
    thread.start()
    working.wait()
    with workers.worker():  # ends while the other has computed nothing yet
        pass
    ended.set()
    thread.join()
    assert found == [1]
    assert torch.get_num_threads() == several


def test_results_come_in_order(several: int) -> None:
    workers = Workers(torch.device("cpu"))
    assert workers.count == several
    assert workers.map(lambda each: (each, torch.get_num_threads()), range(20)) == [(each, 1) for each in range(20)]
