"""``dfsq data``: which benchmark sets a folder holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.options import common_options

if TYPE_CHECKING:
    from dfsq.evaluation.inventory import Inventory

SCHEMA = "dfsq-data/1"


@click.command()
@click.argument("root", envvar="DFSQ_DATA", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.  [default: a table]")
@common_options
def data(root: Path, as_json: bool) -> None:
    """List the benchmark sets in the folder ROOT, as `--data ROOT` finds them: layouts, scales, numbers of images.

    Without ROOT, the folder that DFSQ_DATA names.
    """
    from cli.console import print_lines, print_table
    from dfsq.evaluation.inventory import SCALES, inventory

    found = inventory(root)
    if as_json:
        document = {"schema": SCHEMA, "root": str(root), "sets": [_document(each) for each in found]}
        click.echo(json.dumps(document, indent=2))
        return
    rows = [(each.name, _images(each), _supplied(each), _made(each), each.layout) for each in found]
    print_table(f"Benchmark sets in {root}", ("set", "images", "with LR", "LR made", "layout"), rows, (1,))
    for each in found:
        for scale, problem in each.problems.items():
            print_lines(f"{each.name} ×{scale}: {problem}")
    print_lines(f"Of ×{', ×'.join(map(str, SCALES))}. LR that is not there is made by MATLAB bicubic.")


def _images(found: Inventory) -> str:
    return ", ".join(map(str, sorted({each.images for each in found.scales.values()}))) or "–"


def _supplied(found: Inventory) -> str:
    return _scales([scale for scale, each in found.scales.items() if each.lr is not None])


def _made(found: Inventory) -> str:
    return _scales([scale for scale, each in found.scales.items() if each.lr is None])


def _scales(scales: list[int]) -> str:
    return " ".join(f"×{each}" for each in scales) or "–"


def _document(found: Inventory) -> dict[str, Any]:
    return {
        "name": found.name,
        "layout": found.layout,
        "scales": {
            str(scale): {"images": each.images, "hr": str(each.hr), "lr": None if each.lr is None else str(each.lr)}
            for scale, each in found.scales.items()
        },
        "problems": {str(scale): problem for scale, problem in found.problems.items()},
    }
