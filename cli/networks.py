"""``dfsq networks``: what is supported."""

from __future__ import annotations

import click

from cli.options import common_options


@click.command()
@common_options
def networks() -> None:
    """List the networks that are recognised."""
    from cli.console import print_table
    from dfsq.catalogue import catalogue

    rows = [
        (each.name, each.title, f"0–{each.rgb_range:g}", "paper" if each.in_paper else "rule") for each in catalogue()
    ]
    print_table("Supported networks", ("--arch", "network", "range", "body scope"), rows)
    click.echo(
        "Others through spandrel: pip install 'dfsq[zoo]'. Body scope: as the DFSQ paper lists it, or every layer but"
    )
    click.echo("the first, the upsampler, the last and those on pooled 1×1 maps.")
