"""Loading a model from whatever file a user has."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path

from dfsq import artifact, networks
from dfsq.checkpoint import read_state, sha256_of
from dfsq.errors import CheckpointError
from dfsq.model import SRModel

EMBEDDED = {"edsr-baseline-x2": "edsr_baseline_x2.safetensors"}
"""Checkpoints that come with the package, by the name that stands for a path."""


def load(
    path: str | Path,
    *,
    arch: str | None = None,
    scale: int | None = None,
    rgb_range: float | None = None,
    device: str = "cpu",
) -> SRModel:
    """Load a full-precision checkpoint, a dfsq artifact, or an embedded checkpoint by name (``"edsr-baseline-x2"``).

    ``arch``, ``scale`` and ``rgb_range`` override what a checkpoint's names and shapes say; an artifact knows its own.
    Returns the model in evaluation mode on ``device``. Raises :class:`~dfsq.errors.CheckpointError`,
    :class:`~dfsq.errors.ArtifactError` or :class:`~dfsq.errors.UsageError`.
    """
    if str(path) in EMBEDDED and not Path(path).exists():
        with as_file(files("dfsq") / "data" / EMBEDDED[str(path)]) as embedded:
            return load(embedded, arch=arch, scale=scale, rgb_range=rgb_range, device=device)
    path = Path(path)
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder; name the checkpoint file in it")
    if artifact.is_artifact(path):
        return artifact.load(path).to(device)
    try:
        model = networks.from_state(read_state(path), arch=arch, scale=scale, rgb_range=rgb_range)
    except CheckpointError as error:
        raise CheckpointError(str(error) if str(path) in str(error) else f"{path}: {error}") from error.__cause__
    model.info = replace(model.info, source=path.name, source_sha256=sha256_of(path))
    return model.to(device)
