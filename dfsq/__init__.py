"""dfsq quantizes pretrained image super-resolution networks after training, to 8…2 bits.

Names are resolved on first use, so that importing the package does not import torch.
"""

from __future__ import annotations

from importlib import import_module

from dfsq.version import __version__

# Not from typing: under `python -m dfsq` nothing may be imported before the working folder is off the path.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from dfsq.artifact import save
    from dfsq.engines.opening import engine
    from dfsq.evaluation.evaluator import evaluate
    from dfsq.loading import load
    from dfsq.model import SRModel
    from dfsq.networks.own import wrap

__all__ = ["SRModel", "__version__", "engine", "evaluate", "load", "save", "wrap"]

_HOMES = {
    "SRModel": "dfsq.model",
    "engine": "dfsq.engines.opening",
    "evaluate": "dfsq.evaluation.evaluator",
    "load": "dfsq.loading",
    "save": "dfsq.artifact",
    "wrap": "dfsq.networks.own",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'dfsq' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
