"""What an interrupted run goes on from: a safetensors file beside the output."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as decode
from safetensors.torch import save as encode
from torch import Tensor

from dfsq.errors import UsageError
from dfsq.files import write_atomically

_KEY = "dfsq.training"
REMEDY = "start anew (`no_resume`) or remove the file"
"""What a message says of a state that does not fit."""


@dataclass
class State:
    """A run after ``step`` steps."""

    step: int = 0
    steps: int = 0
    """In all."""
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    """Of the module, the optimizer and the best so far, by name."""
    scores: dict[int, float] = field(default_factory=dict)
    """Drop on the images set aside, dB, by step."""
    losses: tuple[float, float] | None = None
    """Of the first steps, and of late."""
    length: float | None = None
    """Of the gradients of late."""
    pace: float = 1.0
    """What rates are multiplied by."""


class Store:
    """The file that a run's state is kept in."""

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        """``identity``: what makes it the same run, JSON types only: parts by name."""
        self.path = path
        self._identity = json.loads(json.dumps(identity))

    def save(self, state: State) -> None:
        """Replace the file as a whole."""
        scores = {str(step): score for step, score in state.scores.items()}
        document = {
            "identity": self._identity,
            "step": state.step,
            "steps": state.steps,
            "scores": scores,
            "losses": state.losses,
            "length": state.length,
            "pace": state.pace,
        }
        tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.tensors.items()}
        write_atomically(self.path, encode(tensors, {_KEY: json.dumps(document)}))

    def load(self) -> State | None:
        """The state of this very run, or None where there is none.

        Raises :class:`UsageError` for the state of another run, and for a file that is none.
        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UsageError(f"cannot read {self.path}: {error.strerror or error}; remove it") from error
        try:
            length = int.from_bytes(content[:8], "little")
            document = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][_KEY])
            tensors = decode(content)
            scores = {int(step): float(score) for step, score in document["scores"].items()}
            losses = document["losses"] and (float(document["losses"][0]), float(document["losses"][1]))
            usual = document["length"] and float(document["length"])
            pace = float(document["pace"])
            state = State(int(document["step"]), int(document["steps"]), tensors, scores, losses, usual, pace)
            identity = dict(document["identity"])
        except (SafetensorError, LookupError, ValueError, TypeError, AttributeError) as error:
            raise UsageError(f"{self.path} is no state of a training run; {REMEDY}") from error
        for part, value in self._identity.items():
            if identity.get(part) != value:
                raise UsageError(f"{self.path} is the state of another run: another {part}; {REMEDY}")
        return state

    def remove(self) -> None:
        """Remove the file: the run is complete."""
        self.path.unlink(missing_ok=True)
