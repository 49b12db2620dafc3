"""``dfsq inspect``: what is in an artifact or a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli import completion
from cli.loading import body_option, checkpoint_options, load_model
from cli.options import common_options
from cli.shares import share_document

if TYPE_CHECKING:
    from dfsq.artifact.contents import Contents
    from dfsq.model import SRModel

SCHEMA = "dfsq-inspect/1"


@click.command()
@click.argument("file", shell_complete=completion.models)
@click.option(
    "--layer",
    metavar="NAME",
    shell_complete=completion.layers,
    help="Show the levels of this layer's or place's input.  [default: none]",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print all that the file says as one JSON object.  [default: tables]"
)
@click.option(
    "--run", is_flag=True, help="Build the network and count its multiply-adds.  [default: of checkpoints alone]"
)
@checkpoint_options
@body_option
@common_options
def inspect(
    file: str,
    layer: str | None,
    as_json: bool,
    run: bool,
    **overrides: Any,
) -> None:
    """Show the network, layers, bits, recipe and provenance of an artifact or checkpoint FILE.

    An artifact tells all that by itself, at once; its network is built for --run, --layer and --arch.
    """
    from cli.inspecting import print_artifact, print_checkpoint, print_levels
    from dfsq import artifact
    from dfsq.artifact.contents import contents
    from dfsq.embedded import located

    with located(file) as place:
        found = contents(place) if artifact.is_artifact(place) else None
        size = place.stat().st_size if place.is_file() else 0
    model = None
    if found is None or run or layer is not None or overrides["arch"]:
        model = load_model(file, quiet=False, **overrides)
    if layer is not None and model is not None:
        _check_layer(model, layer)
    if as_json:
        document = {"schema": SCHEMA, "file": Path(file).name, "bytes": size, **_document(found, model)}
        click.echo(json.dumps(document, indent=2, sort_keys=True))
    elif layer is not None and model is not None:
        print_levels(model, layer)
    elif found is not None:
        print_artifact(file, size, found, model)
    elif model is not None:
        print_checkpoint(file, size, model)


def _check_layer(model: SRModel, layer: str) -> None:
    from dfsq.errors import UsageError
    from dfsq.nn import quantizers

    known = list(quantizers(model.net))
    if layer not in known:
        hint = f"quantized layers are named like {', '.join(known[:3])}" if known else "this file has none"
        raise UsageError(f"no quantized layer {layer!r}; {hint}")


def _document(found: Contents | None, model: SRModel | None) -> dict[str, Any]:
    """All that is known of an artifact, its network, or both; of a checkpoint, ``layers`` are those that can be
    quantized."""
    document: dict[str, Any] = {"kind": "checkpoint" if found is None else "artifact"}
    if model is not None:
        document |= _network(model)
    if found is not None:
        document |= {**found.header.to_json(), "parameters": found.parameters}
        document |= {"bounds": found.bounds} if found.bounds else {}
    return document


def _network(model: SRModel) -> dict[str, Any]:
    from dfsq.networks.multiply_adds import of_model
    from dfsq.networks.scope import quantizable_layers

    info = model.info
    return {
        "architecture": info.architecture,
        "hyperparameters": dict(info.hyperparameters),
        "scale": info.scale,
        **info.identified(),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "body": list(model.body),
        "layers": {name: {"shape": list(each.weight.shape)} for name, each in quantizable_layers(model.net).items()},
        "source": {"file": info.source, "sha256": info.source_sha256},
        "code": info.code,
        "multiply_adds": share_document(of_model(model)),
    }
