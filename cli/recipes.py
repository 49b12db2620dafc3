"""``dfsq recipes``: what ships with the package, and every choice of a recipe."""

from __future__ import annotations

import click

from cli import completion
from cli.console import print_text
from cli.options import common_options


@click.group(invoke_without_command=True)
@click.pass_context
def recipes(context: click.Context) -> None:
    """List recipes, or show one: the start of your own."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@recipes.command(name="list")
@common_options
def list_recipes() -> None:
    """Name the recipes that ship with dfsq, with what they are for."""
    from calibration.recipes.files import purpose_of, shipped, text_of

    for name in shipped():
        print_text(f"{name:<12} {purpose_of(text_of(name))}\n")


@recipes.command()
@click.argument("name", shell_complete=completion.recipes)
@common_options
def show(name: str) -> None:
    """Print every choice of recipe NAME as YAML; save it, change it, and give the file to --recipe."""
    from calibration.recipes.files import purpose_of, recipe, text_of
    from calibration.recipes.text import to_yaml

    print_text(to_yaml(recipe(name), purpose_of(text_of(name))))
