"""Several processes at work on one run, as ``torchrun`` starts them: who does what, and how results come together.

Everything here does nothing special in a process of its own, and in one that has not called :func:`start`: a library
caller's process group is left alone. All processes must call what communicates in the same order.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from dfsq.errors import UsageError, WorkerLostError

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributed.distributed_c10d import Store

Item = TypeVar("Item")
Result = TypeVar("Result")

_PATIENCE = timedelta(days=1)
"""How long a process waits for one that works. One that has died is noticed at once: its connections close."""

_SECONDS_TO_END = 10
"""How long a process has to end by itself when its launcher has gone."""

LOST = "a worker process was lost or the run was terminated; no file was left unfinished, run again"


@dataclass(frozen=True)
class _Group:
    rank: int
    size: int
    store: Store


_group: _Group | None = None
_launcher: int | None = None
"""Number of the process that :func:`end_with_launcher` watches."""
_alone = False
"""Whether this process works on an item of its own, which is not shared out any further."""


def is_launched() -> bool:
    """Whether ``torchrun`` has started this process; known before :func:`start`."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def launched_rank() -> int:
    """This process's number in all that ``torchrun`` has started, 0 outside it; known before :func:`start`."""
    return int(os.environ["RANK"]) if is_launched() else 0


def end_with_launcher() -> None:
    """Terminate this process when ``torchrun`` has gone: where it was killed, nobody else would."""
    global _launcher
    if is_launched():
        _launcher = os.getppid()
        threading.Thread(target=_end_with_launcher, daemon=True).start()


def _end_with_launcher() -> None:
    while not _launcher_has_gone():
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_SECONDS_TO_END)
    os._exit(1)  # it waits for something that does not come


def start(device: str) -> str:
    """Join the other processes that ``torchrun`` has started, and return the device that is this one's.

    Tensors travel by gloo on a CPU and by nccl between GPUs, where ``cuda`` stands for one GPU per process. Raises
    :class:`UsageError` for a numbered GPU, which all would take, and :class:`WorkerLostError` where one is missing.
    """
    global _group
    if _group is not None or not is_launched() or os.environ["WORLD_SIZE"] == "1":
        return device
    from torch import cuda, distributed
    from torch.distributed.rendezvous import rendezvous

    rank, size = launched_rank(), int(os.environ["WORLD_SIZE"])
    on_gpus = device.startswith("cuda") and cuda.is_available() and distributed.is_nccl_available()
    backend = "cpu:gloo,cuda:nccl" if on_gpus else "gloo"
    with _losing_a_worker():
        store, _, _ = next(rendezvous("env://", rank, size))
        _group = _Group(rank, size, store)
        distributed.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=_PATIENCE)
    if device.startswith("cuda:"):
        raise UsageError(f"device {device} would be the same GPU for all {size} processes; use cuda")
    return f"cuda:{os.environ['LOCAL_RANK']}" if device == "cuda" else device


def finish() -> None:
    """Wait until all processes are done: when one leaves with a failed gate, ``torchrun`` ends the others."""
    global _group
    if _group is not None:
        from torch import distributed

        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with _losing_a_worker():
            # A barrier holds no tensors. After a gather, gloo's thread may release them when Python is gone, and abort.
            distributed.barrier(distributed.new_group(backend="gloo"))
        distributed.destroy_process_group()
        _group = None


def is_main() -> bool:
    """Whether this is the process that prints."""
    return _group is None or _group.rank == 0


def writes_files() -> bool:
    """Whether this process writes files now: the first does, and every one what comes of an item of its own."""
    return _alone or is_main()


def is_first_to_fail() -> bool:
    """Whether no other process has asked this before: only that one tells why the run ends."""
    if _group is None or _launcher_has_gone():  # and with it what processes talk through
        return launched_rank() == 0
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it is about to end
    try:
        return _group.store.add("dfsq/failed", 1) == 1
    except RuntimeError:  # the store has gone, and with it whoever else could tell
        return True


def is_mine(index: int) -> bool:
    """Whether this process works on the item with that index."""
    group = _sharing()
    return group is None or index % group.size == group.rank


def share(
    items: Sequence[Item],
    work: Callable[[Item], Result],
    through: Callable[[Callable[[Item], Result], Sequence[Item]], Iterable[Result]] = map,
) -> list[Result]:
    """Results of ``work`` on every item, in order and in every process; each item is one process's work.

    ``through``: what a process goes through its items by, ``map`` or the like.
    """
    global _alone
    group = _sharing()
    if group is None:
        return list(through(work, items))
    _alone = True
    try:
        own = list(through(work, items[group.rank :: group.size]))
    finally:
        _alone = False
    parts = gather(own)
    return [parts[index % group.size][index // group.size] for index in range(len(items))]


def rounds(items: Sequence[Item], each: int = 1) -> Iterator[Sequence[Item]]:
    """``items`` in parts of ``each`` per process, for results too large to be held all at once."""
    group = _sharing()
    size = each if group is None else each * group.size
    for first in range(0, len(items), size):
        yield items[first : first + size]


def gather(own: Item) -> list[Item]:
    """What every process has given, by number."""
    group = _sharing()
    if group is None:
        return [own]
    from torch import distributed

    parts: list[Item] = [own] * group.size
    with _losing_a_worker():
        distributed.all_gather_object(parts, own)
    return parts


def total(tensor: Tensor) -> Tensor:
    """Sum of the tensors of all processes, which have one shape; integers, so that their order cannot matter."""
    return _reduced(tensor, "SUM")


def largest(tensor: Tensor) -> Tensor:
    """Largest values of the tensors of all processes, which have one shape."""
    return _reduced(tensor, "MAX")


def _reduced(tensor: Tensor, operation: str) -> Tensor:
    if _sharing() is None:
        return tensor
    from torch import distributed

    tensor = tensor.clone()
    with _losing_a_worker():
        distributed.all_reduce(tensor, getattr(distributed.ReduceOp, operation))
    return tensor


def _launcher_has_gone() -> bool:
    return _launcher is not None and os.getppid() != _launcher


def _sharing() -> _Group | None:
    return None if _alone else _group


@contextmanager
def _losing_a_worker() -> Iterator[None]:
    """What torch raises where a connection breaks, as one line."""
    try:
        yield
    except RuntimeError as error:
        raise WorkerLostError(LOST) from error
