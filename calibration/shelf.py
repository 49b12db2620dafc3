"""Tensors that wait: in memory up to a limit, and in a file beyond it."""

from __future__ import annotations

import ctypes
import os
import tempfile
import threading
import weakref
from typing import IO, Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

from dfsq.errors import DfsqError
from dfsq.nested import tensors_in
from dfsq.runtime import return_freed_memory

_SMALLEST = 1 << 16
"""Bytes of a tensor that are worth the trouble."""
_DISK = "/var/tmp"
_PROCESS = 900 << 20
"""Bytes that the process may hold before what it has freed goes back to the system, which takes time."""


def scratch_folder() -> str:
    """Where the file lies: where the user says, else on a disk if there is one, for /tmp is memory on many systems."""
    said = any(os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP"))
    return _DISK if not said and os.access(_DISK, os.W_OK | os.X_OK) else tempfile.gettempdir()


class Shelf(TorchFunctionMode):
    """Keeps count of the tensors that torch makes while it is entered, in any thread.

    :meth:`tidy`, called while no thread works, moves to a file what exceeds the limit, those last used first: where
    passes take turns, these are the ones not needed for longest. They come back when torch is called with them. CPU
    tensors only.
    """

    def __init__(self, limit: int) -> None:
        """``limit``: bytes that may stay in memory."""
        super().__init__()
        self._limit = limit
        self._here: dict[int, _Storage] = {}
        self._away: dict[int, _Storage] = {}
        self._file: _Slots | None = None
        self._lock = threading.RLock()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        for each in tensors_in((args, kwargs)) if self._away else ():
            with self._lock:
                self._fetch(each)
        result = func(*args, **kwargs)
        for each in tensors_in(result):
            with self._lock:
                self._note(each)
        return result

    def read(self, values: Any) -> Any:
        """Nested ``values`` with copies of those tensors that are on file, and stay there."""
        with self._lock:
            return tree_map_only(Tensor, self._read, values)

    def tidy(self) -> None:
        """Move to the file what exceeds the limit."""
        for storages in (self._here, self._away):
            for key in [key for key, each in storages.items() if not each.is_alive()]:
                slot = storages.pop(key).slot
                if slot is not None and self._file is not None:
                    self._file.release(slot)
        excess = sum(each.size for each in self._here.values()) - self._limit
        for key in reversed(list(self._here)):
            if excess <= 0:
                break
            self._file = self._file or _Slots()
            self._here[key].put_away(self._file)
            self._away[key] = self._here.pop(key)
            excess -= self._away[key].size
        return_freed_memory(beyond=_PROCESS)

    def _note(self, tensor: Tensor) -> None:
        if tensor.device.type != "cpu" or type(tensor) is not Tensor or tensor.layout != torch.strided:
            return  # a parameter is no result, and what is not plain has no storage to empty
        storage = tensor.untyped_storage()
        if storage.nbytes() < _SMALLEST or not storage.resizable():
            return
        key = storage._cdata
        known = self._here.pop(key, None)
        if known is None or not known.is_alive():
            known = _Storage(storage.nbytes())
        known.add(tensor)
        self._here[key] = known  # last, as used last

    def _fetch(self, tensor: Tensor) -> None:
        key = self._key_on_file(tensor)
        if key is not None and self._file is not None:
            each = self._here[key] = self._away.pop(key)
            each.bring_back(tensor, self._file)

    def _read(self, tensor: Tensor) -> Tensor:
        key = self._key_on_file(tensor)
        return tensor if key is None or self._file is None else self._away[key].read(tensor, self._file)

    def _key_on_file(self, tensor: Tensor) -> int | None:
        if not self._away or tensor.device.type != "cpu" or tensor.layout != torch.strided:
            return None
        key = tensor.untyped_storage()._cdata
        return key if key in self._away and self._away[key].is_alive() else None


class _Storage:
    """What one or more tensors lie in."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.slot: tuple[int, int] | None = None
        self._users: list[weakref.ref[Tensor]] = []

    def add(self, tensor: Tensor) -> None:
        self._users = [each for each in self._users if each() is not None]
        self._users.append(weakref.ref(tensor))

    def is_alive(self) -> bool:
        return any(each() is not None for each in self._users)

    def put_away(self, file: _Slots) -> None:
        tensor = next(each for user in self._users if (each := user()) is not None)
        storage = tensor.untyped_storage()
        self.slot = file.write(_bytes_of(storage))
        storage.resize_(0)

    def bring_back(self, tensor: Tensor, file: _Slots) -> None:
        assert self.slot is not None
        storage = tensor.untyped_storage()
        storage.resize_(self.size)
        file.read(self.slot, _bytes_of(storage))
        file.release(self.slot)
        self.slot = None

    def read(self, tensor: Tensor, file: _Slots) -> Tensor:
        assert self.slot is not None
        storage = torch.UntypedStorage(self.size)  # type: ignore[no-untyped-call]
        file.read(self.slot, _bytes_of(storage))
        return tensor.new_empty(0).set_(storage, tensor.storage_offset(), tensor.shape, tensor.stride())


class _Slots:
    """A file without a name, in parts that are used again."""

    def __init__(self) -> None:
        self._folder = scratch_folder()
        self._file: IO[bytes] = tempfile.TemporaryFile(  # noqa: SIM115 - closed with this
            prefix="dfsq-", buffering=0, dir=self._folder
        )
        self._end = 0
        self._free: dict[int, list[int]] = {}

    def write(self, data: memoryview) -> tuple[int, int]:
        size, free = len(data), self._free.get(len(data))
        start = free.pop() if free else self._end
        self._end = max(self._end, start + size)
        self._file.seek(start)
        try:
            while data:
                data = data[self._file.write(data) :]
        except OSError as error:
            raise DfsqError(
                f"no room for the maps of calibration in {self._folder}: {error.strerror}; set TMPDIR to a "
                "folder on a larger disk, or use fewer or smaller patches"
            ) from error
        return start, size

    def read(self, slot: tuple[int, int], into: memoryview) -> None:
        self._file.seek(slot[0])
        while into:
            into = into[self._file.readinto(into) :]  # type: ignore[attr-defined]

    def release(self, slot: tuple[int, int]) -> None:
        self._free.setdefault(slot[1], []).append(slot[0])


def _bytes_of(storage: torch.UntypedStorage) -> memoryview:
    # By ctypes, as torch's own functions would be counted.
    return memoryview((ctypes.c_ubyte * storage.nbytes()).from_address(storage.data_ptr())).cast("B")
