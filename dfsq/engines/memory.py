"""How much memory there is, and how much of it a network takes: what decides whether an image fits."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._pytree import tree_leaves

from dfsq.dispatch import DispatchMode
from dfsq.model import SRModel
from dfsq.runtime import without_compiled_code

_aten = torch.ops.aten
_PROBE = 48
"""Height and width of the image that a network is tried on."""
OVERHEAD = 2
"""Peak memory of a process over the activations that its network holds; measured 1.1…2.0 on six networks."""
_WORKING = (_aten.convolution.default, _aten.addmm.default, _aten.mm.default, _aten.bmm.default)
_HIGHEST_STRIP = 64
"""Higher strips are not faster."""


@dataclass(frozen=True)
class Footprint:
    """What a network takes, per pixel of its input."""

    bytes: float
    """Activations that it holds at the worst moment."""
    work: float
    """Values that its convolutions and matrix products make, which tells how far a pass has come."""

    def rows(self, height: int, width: int, memory: float) -> int | None:
        """Rows that fit into ``memory`` bytes at a time, or None where the whole image does."""
        row = self.bytes * OVERHEAD * width
        return None if row * height <= memory else max(1, min(_HIGHEST_STRIP, int(memory / row)))


def work(func: Any, result: Any) -> int:
    """Values that the operator ``func`` has made as its ``result``, or 0 where others take most of the time."""
    return result.numel() if func in _WORKING else 0


def footprint(model: SRModel) -> Footprint:
    """Measure ``model`` on a small image of noise."""
    parameter = next(model.parameters())
    probe = torch.rand(1, 3, _PROBE, _PROBE, generator=torch.Generator().manual_seed(0)).to(parameter.device)
    with torch.no_grad(), without_compiled_code():
        model(probe)  # makes the tables of its quantizers, which are none of the activations
        with _Meter() as meter:
            model(probe)
    return Footprint(meter.peak / _PROBE**2, meter.work / _PROBE**2)


class _Meter(DispatchMode):
    """Adds up what is alive after every operation, but for what was there before: the model itself."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = self.work = 0
        self._seen: dict[int, tuple[Any, int]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self._see((args, kwargs), given=True)
        result = func(*args, **kwargs or {})
        self._see(result, given=False)
        self.work += work(func, result)
        self._seen = {key: entry for key, entry in self._seen.items() if not entry[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self._seen.values()))
        return result

    def _see(self, values: Any, given: bool) -> None:
        """The memory of tensors among ``values`` counts unless it was ``given`` when it was first seen."""
        for each in tree_leaves(values):
            if isinstance(each, torch.Tensor):
                storage = each.untyped_storage()
                size = 0 if given else storage.nbytes()
                self._seen.setdefault(storage._cdata, (StorageWeakRef(storage), size))  # type: ignore[no-untyped-call]


def available_memory() -> int:
    """Bytes that this process can still take without swapping: the system's, or what its control group leaves it."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return _physical_memory() // 2
    return min([free, *_control_groups()])


def _physical_memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 8 << 30


def _control_groups() -> Iterator[int]:
    """What is left in each Linux control group (version 1 or 2) that holds this process; page cache counts as free."""
    try:
        groups = Path("/proc/self/cgroup").read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return
    for group in groups:
        _, controllers, path = group.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        root = Path("/sys/fs/cgroup") / controllers
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if controllers else ("memory.max", "memory.current")
        # Inside a container its own group is mounted as the root, whatever the path says.
        own = root / path.lstrip("/")
        for folder in {own, *own.parents} if own.is_relative_to(root) else {root}:
            try:
                limit, used = (int((folder / name).read_text()) for name in names)
                statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            except (OSError, ValueError):
                continue  # no such group, or "max": no limit
            yield max(0, limit - used + int(statistics.get("inactive_file", 0)))
