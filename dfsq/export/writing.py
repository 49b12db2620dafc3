"""Exporting a model: graph, file, check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dfsq.errors import UsageError
from dfsq.export import metadata
from dfsq.export.check import Checked, check, engines, opened
from dfsq.export.graph import OPSET, to_onnx
from dfsq.export.registry import FORMATS
from dfsq.files import check_writable, write_atomically
from dfsq.model import SRModel


@dataclass(frozen=True)
class Exported:
    """What was written."""

    files: tuple[Path, ...]
    size: int
    """Bytes of all files together."""
    facts: dict[str, Any]
    """What the files say about themselves, see :mod:`dfsq.export.metadata`."""
    checks: tuple[Checked, ...]
    """One per engine; () where nothing was checked."""


def export(
    model: SRModel,
    path: str | Path,
    *,
    target: str | None = None,
    uint8: bool = False,
    opset: int = OPSET,
    size: tuple[int, int] | None = None,
    check: bool = True,
    advance: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Exported:
    """Write ``model`` to ``path``, ``.onnx`` or OpenVINO's ``.xml`` (with a ``.bin`` beside it), for other engines.

    The graph takes float32 RGB ``(N, 3, H, W)`` in 0–1 and returns ``(N, 3, scale·H, scale·W)``, not clamped, or with
    ``uint8`` bytes ``(N, H, W, 3)`` in and out. N, H and W are free unless ``size`` fixes height and width; whatever
    limits there are stand in ``facts``. ``target`` is as for :func:`~dfsq.export.graph.to_onnx`. Before it is written
    it is compared with ``model`` in every engine that is installed, on pictures of several sizes, unless ``check`` is
    False: floats must agree to 1e-4, what is quantized within one grey level on 99.9 % of the pixels and 0.01 dB.
    ``advance`` is called with what is done, how far it is and how far it goes. Raises
    :class:`~dfsq.errors.UsageError` for another suffix, and :class:`~dfsq.errors.DfsqError` where a library is missing,
    the network cannot be written as a graph or an engine computes something else: then nothing is written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    form = FORMATS.get(suffix)
    if form is None:
        raise UsageError(f"output {path}: unknown suffix {path.suffix!r}; choose {', '.join(FORMATS)}")
    check_writable(path)
    advance("exporting", 0, 1)
    graph = to_onnx(model, target=target, uint8=uint8, opset=opset, size=size)
    facts = metadata.read(graph)
    with TemporaryDirectory(prefix="dfsq-export-") as folder:
        files: tuple[Path, ...] = import_module(form.module).write(graph, Path(folder) / f"model{suffix}")
        advance("exporting", 1, 1)
        checks = _checks(model, files[0], form.engines, facts, advance) if check else ()
        contents = [(path.with_suffix(each.suffix) if each != files[0] else path, each.read_bytes()) for each in files]
    # The file that a reader opens comes last.
    for target_path, content in reversed(contents):
        write_atomically(target_path, content)
    return Exported(tuple(each for each, _ in contents), sum(len(each) for _, each in contents), facts, checks)


def _checks(
    model: SRModel, path: Path, able: tuple[str, ...], facts: dict[str, Any], advance: Callable[[str, int, int], None]
) -> tuple[Checked, ...]:
    return tuple(check(model, engine, opened(engine, path), facts, advance) for engine in engines() if engine in able)
