"""An engine of whatever a user has: a checkpoint, an artifact, a graph, a model in memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from dfsq.checkpoint.sniffing import graph_format
from dfsq.embedded import located
from dfsq.engines.engine import Engine
from dfsq.engines.exported import Cache, find_or_make
from dfsq.engines.graph import Net, agrees, describe, of_dfsq, reason, wire_of
from dfsq.engines.registry import AUTO, GRAPH_ENGINES, NAMES, PRECISIONS, TORCH
from dfsq.engines.session import Session
from dfsq.engines.torch import Torch
from dfsq.errors import CheckpointError, DfsqError, UsageError
from dfsq.extras import installed, require
from dfsq.loading import load
from dfsq.model import SRModel
from dfsq.networks.own import check_wrapped
from dfsq.networks.recognition import Wanted


def engine(
    model: str | Path | SRModel | Engine,
    name: str | None = None,
    *,
    precision: str = AUTO,
    on_note: Callable[[str], None] = lambda _: None,
    **options: Any,
) -> Engine:
    """``model`` in the engine ``name``: ``torch``, ``onnxruntime`` or ``openvino``.

    ``model`` is a path as :func:`dfsq.load` takes it, a graph (``.onnx``, or ``.xml`` of OpenVINO), or a model in
    memory. Without ``name`` a graph runs in the first engine that is installed, and everything else in torch. A
    checkpoint or artifact is exported for another engine, which is kept in the user's cache. ``precision``: ``f32``,
    ``bf16``, or ``auto``, which is the engine's own choice, and f32 for a graph of integers. ``on_note`` is called
    before what takes time. ``options``: those of :func:`dfsq.load`; for a graph of another tool ``scale`` and
    ``rgb_range`` count. Raises what that does, :class:`UsageError` for an engine that cannot run ``model``, and
    :class:`DfsqError` where it is not installed.
    """
    if name is not None and name not in NAMES:
        raise UsageError(f"`engine` {name!r} is unknown; choose {', '.join(NAMES)}")
    if precision not in PRECISIONS:
        raise UsageError(f"`precision` {precision!r} is unknown; choose {', '.join(PRECISIONS)}")
    if isinstance(model, Engine):
        return model
    if isinstance(model, str | Path):
        with located(model) as place:
            kind = graph_format(place)
            if kind is not None:
                return _of_graph(place, kind, name, precision, options)
            loaded = load(model, **options)
            if name in (None, TORCH):
                return Torch(loaded, precision)
            try:
                cache = Cache(place, loaded)
            except DfsqError as error:
                on_note(f"the exported network is not kept: {error}")
                cache = None
            return _exported(loaded, str(name), precision, cache, on_note)
    check_wrapped(model, "engine")
    if name in (None, TORCH):
        return Torch(model, precision)
    return _exported(model, str(name), precision, None, on_note)


def as_engine(model: SRModel | Engine, does: str) -> Engine:
    """``model`` itself, or in torch; ``does`` says what needs one. Raises :class:`UsageError` for anything else."""
    if isinstance(model, Engine):
        return model
    check_wrapped(model, does)
    return Torch(model)


def _of_graph(path: Path, kind: str, name: str | None, precision: str, options: dict[str, Any]) -> Engine:
    able = [each for each, entry in GRAPH_ENGINES.items() if kind in entry.formats]
    if name is not None and name not in able:
        raise UsageError(f"{path} is a graph that {name} does not run; choose `engine` {' or '.join(able)}")
    if name is None:
        ready = [each for each in able if installed(GRAPH_ENGINES[each].library)]
        if not ready:
            extras = " or ".join(f"pip install 'dfsq[{GRAPH_ENGINES[each].extra}]'" for each in able)
            raise DfsqError(f"{path} needs an engine, {' or '.join(able)}, of which none is installed; {extras}")
        name = ready[0]
    wanted = Wanted(scale=options.get("scale"), rgb_range=options.get("rgb_range"))
    try:
        session = _session(path, name, precision)
        return describe(session, path.name, wanted, options.get("check", True), options.get("force", False))
    except DfsqError as error:
        if str(path) in str(error) or not isinstance(error, CheckpointError | UsageError):
            raise
        raise type(error)(f"{path}: {error}") from error.__cause__


def _session(graph: Path | bytes, name: str, precision: str) -> Session:
    entry = GRAPH_ENGINES[name]
    if precision not in (AUTO, *entry.precisions):
        raise UsageError(f"{name} computes in {' or '.join(entry.precisions)}, not in `precision` {precision}")
    try:
        opened: Session = import_module(entry.module).open_session(graph, precision, torch.get_num_threads())
        return opened
    except (DfsqError, MemoryError):
        raise
    except Exception as error:  # libraries have errors of their own
        what = "this graph" if isinstance(graph, bytes) else str(graph)
        said = reason(error).replace(str(graph), "it") if isinstance(graph, Path) else reason(error)
        raise CheckpointError(
            f"{name} cannot read {what}: damaged, or no such graph ({said}); write it again"
        ) from error


def _exported(model: SRModel, name: str, precision: str, cache: Cache | None, on_note: Callable[[str], None]) -> Engine:
    """``model`` in an engine for graphs, which must then do what the model does."""
    made: dict[bytes, Engine] = {}
    require(GRAPH_ENGINES[name].library, GRAPH_ENGINES[name].extra)  # before the work of exporting

    def opened(graph: bytes) -> Engine:
        session = _session(graph, name, precision)
        return of_dfsq(Net(session, wire_of(session)), session, model.info, model)

    def fits(graph: bytes) -> bool:
        try:
            found = opened(graph)
            good = agrees(found, model)
        except UsageError:
            raise
        except (DfsqError, RuntimeError):
            return False
        if good:
            made[graph] = found
        return good

    noted = partial(on_note, f"exporting the network for {name}, which takes some seconds")
    graph = find_or_make(cache, model, fits, noted)
    if graph in made:
        return made[graph]
    result = opened(graph)
    if not agrees(result, model):
        raise DfsqError(f"{name} gives another picture than torch for this network; run it with `engine` torch")
    return result
