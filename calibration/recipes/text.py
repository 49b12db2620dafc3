"""A recipe as the text of a file: every choice with its comment, to be changed and read again."""

from __future__ import annotations

from typing import Any

import yaml

from calibration.recipes.recipe import METHODS, Recipe

_COLUMN = 26
"""Where comments begin."""


def to_yaml(recipe: Recipe, purpose: str = "") -> str:
    """Every choice of ``recipe`` that means something, as YAML that :func:`calibration.recipe` reads back.

    Its name is left out: a file is called as it is named. ``purpose`` is what the recipe is for, in one line.
    """
    comments = {name: each.comment for name, each in recipe.choices().items()}
    comments["method"] = f"of {', '.join(sorted(METHODS))}"
    values = recipe.to_dict() | {"skip": list(recipe.skip), "layer_bits": dict(recipe.layer_bits)}
    lines = [f"# {purpose}"] * bool(purpose)
    del values["name"]
    for name, value in values.items():
        lines.append(f"{f'{name}: {_flow(value)}':<{_COLUMN - 1}} # {comments[name]}")
    return "\n".join(lines) + "\n"


def _flow(value: Any) -> str:
    """``value`` in one line of YAML."""
    options: dict[str, Any] = {"default_flow_style": True, "allow_unicode": True, "sort_keys": False, "width": 10**9}
    text = str(yaml.safe_dump(value, **options)).removesuffix("...\n").strip()
    return text if "\n" not in text else str(yaml.safe_dump(value, default_style='"', **options)).strip()
