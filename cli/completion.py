"""What a shell proposes for values, at the press of Tab: names that only dfsq knows.

Nothing here fails or prints: where something cannot be read, nothing is proposed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from glob import escape, glob
from pathlib import Path

import click
from click.shell_completion import CompletionItem

Names = Iterable[tuple[str, str]]
"""Values, each with a few words about it."""
Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

_FILE = CompletionItem("", type="file")
"""Makes the shell propose files; bash, where nothing else is proposed, and only if it comes first."""


def _completer(find: Callable[[click.Context], Names], *, commas: bool = False, files: bool = False) -> Completer:
    """Proposes what ``find`` gives and what is typed begins, in any case; the last of several between ``commas``."""

    @wraps(find)
    def complete(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
        before, comma, typed = incomplete.rpartition(",") if commas else ("", "", incomplete)
        try:
            found = list(find(context))
        except Exception:  # whatever it is, the command itself will tell
            found = []
        taken = before.lower().split(",")
        fitting = [
            (name, about)
            for name, about in found
            if name.lower().startswith(typed.lower()) and name.lower() not in taken
        ]
        items = [CompletionItem(f"{before}{comma}{name}", help=about or None) for name, about in fitting]
        return [_FILE] * files + items

    return complete


def _recipes(_: click.Context) -> Names:
    from calibration.recipes.files import purpose_of, shipped, text_of

    return [(name, purpose_of(text_of(name))) for name in shipped()]


def _networks(_: click.Context) -> Names:
    from dfsq.catalogue import catalogue

    return [(each.name, each.title) for each in catalogue()]


def models(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Proposes files, and checkpoints that come with dfsq where a name is begun that no file has."""
    from dfsq.embedded import EMBEDDED

    own = bool(glob(f"{escape(incomplete)}*")) or not incomplete
    names = [] if own else [name for name in EMBEDDED if name.startswith(incomplete.lower())]
    return [_FILE, *(CompletionItem(name, help="comes with dfsq") for name in names)]


def _sets(context: click.Context) -> Names:
    """Those of ``--data``, or of what DFSQ_DATA names."""
    from dfsq.evaluation.layouts import set_folders

    data = context.params.get("data")
    return [(each.name, each.layout) for each in set_folders(Path(data))] if data else []


def _layers(context: click.Context) -> Names:
    """Those of the file that is named before. An artifact tells them; a checkpoint is loaded, as its names may be
    spelled otherwise than the network's. Code of the user's own is not run for that."""
    from dfsq.artifact import is_artifact, read_header
    from dfsq.embedded import located

    given = context.params
    named = [str(given[name]) for name in ("file", "checkpoint", "model") if given.get(name)]
    # Arguments before an option without its value, which is being typed, are left over.
    path = next((each for each in (*context.args, *named) if not each.startswith("-")), "")
    if not path or ":" in (given.get("arch") or ""):
        return []
    with located(path) as place:
        if is_artifact(place):
            header = read_header(place)
            return [(name, "") for name in (*header["layers"], *header.get("places", ()))]
    import dfsq
    from dfsq.networks.scope import quantizable_layers

    wanted = {name: given[name] for name in ("arch", "arch_args", "scale", "rgb_range") if given.get(name)}
    return [(name, "") for name in quantizable_layers(dfsq.load(path, check=False, **wanted).net)]


def _selectors(_: click.Context) -> Names:
    from calibration.recipes.values import SELECTORS

    return [(name, "") for name in SELECTORS]


def _weights(_: click.Context) -> Names:
    from calibration.recipes.values import WEIGHTS

    return [(name, "") for name in WEIGHTS]


def _followed(find: Callable[[click.Context], Names], sign: str) -> Callable[[click.Context], Names]:
    return lambda context: [(f"{name}{sign}", about) for name, about in find(context)]


recipes = _completer(_recipes, files=True)
several_recipes = _completer(_recipes, commas=True, files=True)
networks = _completer(_networks, files=True)
sets = _completer(_sets, commas=True)
sets_with_limits = _completer(_followed(_sets, "="))
layers = _completer(_layers)
layers_with_bits = _completer(_followed(_layers, "="))
selectors = _completer(_selectors)
weights = _completer(_weights)
