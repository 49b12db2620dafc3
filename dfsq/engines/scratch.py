"""Tensors in files: what a network holds may be larger than memory, and costs only disk."""

from __future__ import annotations

import mmap
import os
import tempfile
import threading
import weakref
from collections import defaultdict
from collections.abc import Sequence
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dfsq.errors import DfsqError

_SECONDS_BETWEEN_DROPS = 0.002


class Scratch:
    """Makes tensors whose values lie in files without a name, which vanish with the process, even if it is killed.

    The files are mapped into memory, so that every operation reads and writes them. What of them is resident is dropped
    every few milliseconds while the scratch is open: the values stay in the file (first of all in the system's page
    cache, which is free memory put to use), and memory holds what an operation is working on. The system takes more
    of it away when memory is short.
    """

    def __init__(self, folder: Path) -> None:
        """``folder``: where the files lie; on a real disk, for a RAM disk saves nothing."""
        self.folder = folder
        self._files: list[mmap.mmap] = []
        self._free: defaultdict[int, list[mmap.mmap]] = defaultdict(list)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._drop_regularly, daemon=True)

    def __enter__(self) -> Scratch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._thread.join()

    def tensor(self, size: Sequence[int], dtype: torch.dtype, order: Sequence[int]) -> Tensor:
        """An uninitialized dense tensor; ``order``: its axes, from the outermost in memory to the innermost.

        Raises :class:`DfsqError` where the disk is full.
        """
        length = prod(size) * dtype.itemsize
        # A file that a tensor no longer needs is taken again: new ones cost the system four times as much.
        file = self._free[length].pop() if self._free[length] else self._file(length)
        values = np.frombuffer(file, np.uint8)
        weakref.finalize(values, self._free[length].append, file)
        dense = torch.from_numpy(values).view(dtype).view([size[axis] for axis in order])
        return dense.permute([list(order).index(axis) for axis in range(len(size))])

    def drop(self) -> None:
        """Take all values out of this process's memory; they come back when they are used."""
        for file in tuple(self._files):
            if hasattr(file, "madvise"):
                file.madvise(mmap.MADV_DONTNEED)

    def _file(self, length: int) -> mmap.mmap:
        try:
            with tempfile.TemporaryFile(dir=self.folder) as file:
                # Reserved now: a disk that fills up later would kill the process by a signal.
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, length)
                else:
                    file.truncate(length)
                mapped = mmap.mmap(file.fileno(), length)
        except OSError as error:
            reason = f"{length / 1e9:.2f} GB of scratch in {self.folder}: {error.strerror or error}"
            raise DfsqError(f"cannot put {reason}; choose another folder with `scratch`") from error
        self._files.append(mapped)
        return mapped

    def _drop_regularly(self) -> None:
        while not self._closed.wait(_SECONDS_BETWEEN_DROPS):
            self.drop()
