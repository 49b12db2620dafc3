"""``dfsq recipes``: what ships with the package, and every choice of a recipe."""

from __future__ import annotations

import click

from cli.console import print_text
from cli.options import common_options


@click.group(no_args_is_help=False)
def recipes() -> None:
    """List recipes, or show one: the start of your own."""


@recipes.command(name="list")
@common_options
def list_recipes() -> None:
    """Name the recipes that ship with dfsq, with what they are for."""
    from calibration.recipe_files import shipped, text_of

    for name in shipped():
        print_text(f"{name:<12} {text_of(name).splitlines()[0].removeprefix('# ')}\n")


@recipes.command()
@click.argument("name")
@common_options
def show(name: str) -> None:
    """Print recipe NAME as YAML; save it, change it, and give the file to --recipe."""
    from calibration.recipe_files import recipe, text_of

    recipe(name)  # what is shown is valid
    print_text(text_of(name))
