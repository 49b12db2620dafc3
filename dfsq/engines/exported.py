"""Models exported on the fly for other engines, and kept: an export takes seconds, and is the same every time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from dfsq.caches import private_folder
from dfsq.checkpoint import sha256_of
from dfsq.errors import DfsqError
from dfsq.files import write_atomically
from dfsq.model import SRModel
from dfsq.version import __version__

_FOLDER = "graphs"
_MOST = 32
"""Graphs that are kept; the oldest go first."""


def export(model: SRModel) -> bytes:
    """``model`` as the content of an ONNX file. Raises :class:`DfsqError` where it cannot be exported."""
    from dfsq.export import to_onnx

    try:
        content: bytes = to_onnx(model.cpu()).SerializeToString()
        return content
    except (DfsqError, MemoryError):
        raise
    except Exception as error:  # the exporter raises whatever it stumbles over
        line = " ".join(str(error).split())[:200]
        raise DfsqError(f"this network cannot be exported ({line}); run it with `engine` torch") from error


class Cache:
    """Where the graph of a model from a file lies, in the user's cache folder."""

    def __init__(self, file: Path, model: SRModel) -> None:
        """``model`` was loaded from ``file``. Raises :class:`DfsqError` where there can be no cache."""
        self._path = private_folder(_FOLDER) / f"{_key(file, model)}.onnx"

    def read(self) -> bytes | None:
        """The graph, or None where there is none."""
        try:
            content = self._path.read_bytes()
            self._path.touch()  # used lately
        except OSError:
            return None
        return content

    def write(self, graph: bytes) -> None:
        """Keep ``graph`` in place of what is there. Of several processes that do so, each writes the same."""
        write_atomically(self._path, graph)
        with suppress(OSError):
            graphs = sorted(self._path.parent.glob("*.onnx"), key=lambda path: path.stat().st_mtime)
            for path in graphs[:-_MOST]:
                path.unlink(missing_ok=True)


def find_or_make(
    cache: Cache | None, model: SRModel, fits: Callable[[bytes], bool], on_export: Callable[[], None]
) -> bytes:
    """The graph of ``model``: from ``cache`` where what is there ``fits``, else exported and kept; ``on_export`` is
    called before that."""
    kept = cache.read() if cache else None
    if kept and fits(kept):
        return kept
    on_export()
    graph = export(model)
    if cache:
        with suppress(DfsqError):  # a full disk is no reason to do without the result
            cache.write(graph)
    return graph


def _key(file: Path, model: SRModel) -> str:
    """Of what makes a graph: the file, how it was read, and what exports it."""
    versions = {"dfsq": __version__}
    for library in ("torch", "onnx", "onnxscript", "spandrel"):
        with suppress(PackageNotFoundError):
            versions[library] = version(library)
    read = {**asdict(model.info), "fidelity": None, "source": None}
    made_of = json.dumps([sha256_of(file), read, versions], sort_keys=True, default=str)
    return hashlib.sha256(made_of.encode("utf-8", "surrogateescape")).hexdigest()
