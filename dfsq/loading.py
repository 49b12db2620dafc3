"""Loading a model from whatever file a user has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from dfsq import artifact, networks, plausibility
from dfsq.checkpoint import kind_of, read_states, sha256_of
from dfsq.embedded import located
from dfsq.errors import CheckpointError
from dfsq.model import SRModel
from dfsq.networks import own
from dfsq.networks.recognition import OwnNetwork, Wanted, scale_in
from dfsq.networks.scope import matching


def load(
    path: str | Path,
    *,
    arch: OwnNetwork | None = None,
    arch_args: Mapping[str, Any] | None = None,
    scale: int | None = None,
    rgb_range: float | None = None,
    body: tuple[str, ...] = (),
    check: bool = True,
    force: bool = False,
    device: str = "cpu",
) -> SRModel:
    """Load a full-precision checkpoint, a dfsq artifact, or an embedded checkpoint by name (``"edsr-baseline-x2"``).

    ``arch`` names a known architecture, or code of your own: ``FILE.py:NAME``, ``MODULE:NAME`` or a callable, which is
    run. ``arch_args``, ``scale`` and ``rgb_range`` override what a checkpoint's names, shapes and the plausibility
    check say, ``body`` (shell-style patterns) which layers are quantized. An artifact knows all that: it needs ``arch``
    only where it holds a network of your own, with the ``arch_args`` that it was made with, or none. ``check`` False
    skips the check of :mod:`dfsq.plausibility`, and ``force`` goes on with a note where it fails. Returns the model in
    evaluation mode on ``device``, with ``notes`` that a user should read. Raises
    :class:`~dfsq.errors.CheckpointError`, :class:`~dfsq.errors.ArtifactError` or :class:`~dfsq.errors.UsageError`.
    """
    with located(path) as place:
        kind_of(place)  # raises for pipes and folders, which nothing may open
        if artifact.is_artifact(place):
            model = artifact.load(place, arch=own.bound(arch, arch_args))
            if model.info.fidelity is not None and model.info.fidelity < plausibility.LEAST:
                model.notes += (f"made of a network that failed the plausibility check ({model.info.fidelity:.0f} dB)",)
            return model.to(device)
        wanted = Wanted(arch, arch_args or {}, scale, rgb_range, scale_in(place.name))
        return _from_checkpoint(place, wanted, body, check, force).to(device)


def _from_checkpoint(path: Path, wanted: Wanted, body: tuple[str, ...], check: bool, force: bool) -> SRModel:
    found = read_states(path)
    try:
        index, recognised = networks.recognise([each.state for each in found], wanted)
        model = plausibility.choose(recognised, force) if check else recognised.build(recognised.variants[0])
        if body:
            model.body = matching(model.net, body)
    except CheckpointError as error:
        raise type(error)(str(error) if str(path) in str(error) else f"{path}: {error}") from error.__cause__
    model.info = replace(
        model.info,
        found={**model.info.found, "weights": found[index].where},
        source=path.name,
        source_sha256=sha256_of(path),
    )
    return model
