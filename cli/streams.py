"""Standard output and error that never stop a run: a reader that leaves, a full disk, an alphabet without ×."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any, TextIO


class Output(io.TextIOBase):
    """A text stream that goes on where it cannot be written to, and remembers why."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.error: OSError | None = None
        """What went wrong first. A reader that has gone, as in ``| head``, had enough: nothing is wrong."""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of what is written."""
        return self._stream.encoding

    def isatty(self) -> bool:
        """Whether this is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """The number of the file."""
        return self._stream.fileno()

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, text: str) -> int:
        """Write ``text`` if that is possible; characters that the encoding lacks as escapes."""
        try:
            self._stream.write(text)
        except OSError as error:
            self._give_up(error)
        return len(text)

    def flush(self) -> None:
        """Hand on what is buffered, if that is possible."""
        try:
            self._stream.flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        if not isinstance(error, BrokenPipeError):
            self.error = self.error or error
        with suppress(OSError):  # a stream in memory has no number
            # What is buffered is flushed again when Python ends, and would fail again.
            number = self._stream.fileno()
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), number)


@contextmanager
def robust_output(silent: bool = False) -> Iterator[Output]:
    """Make both streams :class:`Output` meanwhile, and yield that for standard output, which ``silent`` throws away."""
    _open_what_is_closed()
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        out = Output(nowhere if silent else _tolerant(sys.stdout) or nowhere)
        with redirect_stdout(out), redirect_stderr(Output(_tolerant(sys.stderr) or nowhere)) as err:
            yield out
            out.flush()
            err.flush()


def _open_what_is_closed() -> None:
    """After ``>&-`` the next file that is opened would be standard output, and be printed into."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free


def _tolerant(stream: Any) -> Any:
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return stream
