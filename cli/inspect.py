"""``dfsq inspect``: what is in an artifact or a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.loading import body_option, checkpoint_options, load_model
from cli.options import common_options
from cli.shares import percent, share_document, share_facts

if TYPE_CHECKING:
    from dfsq.model import SRModel
    from dfsq.nn import InputQuantizer


@click.command()
@click.argument("file")
@click.option("--layer", metavar="NAME", help="Show the levels of this layer's or place's input.  [default: none]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.  [default: off]")
@checkpoint_options
@body_option
@common_options
def inspect(
    file: str,
    layer: str | None,
    as_json: bool,
    **overrides: Any,
) -> None:
    """Show the network, layers, bits, recipe and provenance of an artifact or checkpoint FILE."""
    from dfsq import artifact
    from dfsq.errors import UsageError

    model = load_model(file, quiet=False, **overrides)
    header = artifact.read_header(Path(file)) if model.quantization else {}
    if layer is not None:
        known = list(_quantizers(model))
        if layer not in known:
            hint = f"quantized layers are named like {', '.join(known[:3])}" if known else "this file has none"
            raise UsageError(f"no quantized layer {layer!r}; {hint}")
    if as_json:
        bounds = _bounds(model)
        document = {**_network(model), **header, **({"bounds": bounds} if bounds else {})}
        click.echo(json.dumps(document, indent=2, sort_keys=True))
    elif layer is not None:
        _print_points(model, layer)
    else:
        _print_summary(model, header, file)


def _network(model: SRModel) -> dict[str, Any]:
    from dfsq.networks.multiply_adds import of_model

    info = model.info
    return {
        "architecture": info.architecture,
        "hyperparameters": dict(info.hyperparameters),
        "scale": info.scale,
        **info.identified(),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "body": list(model.body),
        "code": info.code,
        "multiply_adds": share_document(of_model(model)),
    }


def _print_summary(model: SRModel, header: dict[str, Any], file: str) -> None:
    from cli.console import print_table, size_text
    from dfsq.networks.multiply_adds import behind_places, of_model

    network = _network(model)
    shares = of_model(model)
    hyperparameters = ", ".join(f"{key} {_short(value)}" for key, value in network["hyperparameters"].items())
    fidelity = network["fidelity"]
    rows = [
        ("network", f"{network['architecture']}{_how(model, 'architecture')}"),
        *([("code", f"sha256 {model.info.code['sha256'] or 'unknown'}")] if model.info.code else []),
        ("scale", f"×{network['scale']}{_how(model, 'scale')}"),
        ("hyper-parameters", hyperparameters),
        ("input range", f"0–{network['rgb_range']:g}{_how(model, 'rgb_range')}"),
        ("colour", "RGB" if network["channels"] == 3 else "luminance; Cb and Cr are enlarged bicubically"),
        ("weights", model.info.found.get("weights", "")),
        ("plausibility", "not checked" if fidelity is None else f"{fidelity:.1f} dB"),
        ("parameters", f"{network['parameters']:,}"),
    ]
    if Path(file).exists():
        rows.append(("file", size_text(Path(file).stat().st_size)))
    if not header:
        rows += share_facts(shares, "in body scope", "in other layers that can be quantized").items()
        print_table(f"{file}: full-precision checkpoint", ("", ""), rows)
        layers = [(name, _shape(model, name), percent(shares.layers.get(name, 0))) for name in model.body]
        print_table("Body scope", ("layer", "weight", "multiply-adds"), layers, (2,))
        return
    rows += share_facts(shares, "quantized", "with quantized weights alone").items()
    source, versions, calibration = header["source"], header["versions"], header["calibration"]
    rows += [
        ("calibration", ", ".join(f"{key} {_plain(value)}" for key, value in calibration.items()) or "not recorded"),
        ("made from", f"{source['file']}, sha256 {source['sha256']}"),
        ("made with", ", ".join(f"{name} {version}" for name, version in versions.items())),
        ("format version", str(header["version"])),
    ]
    print_table(f"{file}: dfsq artifact", ("", ""), rows)
    print_table("Recipe", ("", ""), [(key, _plain(value)) for key, value in header["recipe"].items()])
    behind = behind_places(model)
    quantized = {
        name: (
            "×".join(map(str, each["shape"])),
            f"{each['w_bits']} {each['weights']}",
            _bits(each["a_bits"], each["signed"]) if each["a_bits"] else "of a place" if name in behind else "full",
        )
        for name, each in header["layers"].items()
    }
    _print_quantized("Quantized layers", ("layer", "weight", "weight bits", "input bits"), quantized, model)
    if "places" in header:
        places = {name: (_bits(each["bits"], each["signed"]),) for name, each in header["places"].items()}
        _print_quantized("Quantized places between layers", ("place", "bits"), places, model)


def _print_quantized(
    title: str, columns: tuple[str, ...], facts: Mapping[str, tuple[str, ...]], model: SRModel
) -> None:
    """Print a table of layers or places, with bounds and gates where any of them has some."""
    from cli.console import print_table

    bounds = {name: each for name, each in _bounds(model).items() if name in facts}
    if bounds:
        columns += ("bounds", "gate")
        facts = {name: row + _shown(bounds.get(name)) for name, row in facts.items()}
    print_table(title, columns, [(name, *row) for name, row in facts.items()])


def _quantizers(model: SRModel) -> dict[str, InputQuantizer | None]:
    """What quantizes the inputs of layers, None where nothing does, and what passes places, by name."""
    from dfsq import nn

    layers = {name: layer.input_quantizer for name, layer in nn.quantized_layers(model.net)}
    return {**layers, **dict(nn.quantized_places(model.net))}


def _bounds(model: SRModel) -> dict[str, dict[str, Any]]:
    """Bounds by the name of the layer or place whose input is rounded between them, for JSON."""
    from dfsq.nn import BoundsQuantizer

    return {
        name: {"lower": each.lower.item(), "upper": each.upper.item(), "gate": each.gate is not None}
        for name, each in _quantizers(model).items()
        if isinstance(each, BoundsQuantizer)
    }


def _shown(bounds: dict[str, Any] | None) -> tuple[str, ...]:
    """One of these as two columns of a table."""
    if bounds is None:
        return "", ""
    return f"{bounds['lower']:.4g} to {bounds['upper']:.4g}", "dynamic" if bounds["gate"] else ""


def _bits(bits: int, signed: bool) -> str:
    return f"{bits} {'signed' if signed else 'non-negative'}"


def _short(value: Any) -> str:
    """A hyper-parameter as a line holds it: spandrel's descriptions are long, and whole in the JSON."""
    return str(value) if not isinstance(value, dict | list) or len(str(value)) <= 40 else "…"


def _how(model: SRModel, what: str) -> str:
    """How something about the network was found, in brackets."""
    return f" ({model.info.found[what]})" if what in model.info.found else ""


def _print_points(model: SRModel, layer: str) -> None:
    from cli.console import print_table, print_text
    from dfsq.nn import BoundsQuantizer, SubsetQuantizer
    from dfsq.quantizers.bounds import levels

    quantizer = _quantizers(model)[layer]
    if quantizer is None:
        print_text(f"{layer}: the input stays in full precision; only its weights are quantized\n")
        return
    if isinstance(quantizer, BoundsQuantizer):
        gate = " before its gate moves the bounds" if quantizer.gate else ""
        found = " ".join(f"{value:+.4g}" for value in levels(quantizer.lower, quantizer.upper, quantizer.bits).tolist())
        print_text(f"{layer}: levels of the whole tensor{gate}: {found}\n")
        return
    if not isinstance(quantizer, SubsetQuantizer):
        print_text(f"{layer}: {quantizer.bits} bits, evenly spaced\n")
        return
    points, units = quantizer.universal.values(quantizer.points), "in units of each channel's spread"
    if quantizer.fixed is not None:
        shift, spread = quantizer.fixed.view(2, -1, 1)
        points, units = points * spread + shift, "the same for every image"
    rows = [(str(index), " ".join(f"{value:+.4f}" for value in row)) for index, row in enumerate(points.tolist())]
    if len(rows) == 1:
        rows = [("all", rows[0][1])]
    print_table(f"{layer}: quantization points, {units}", ("channel", "points"), rows)


def _shape(model: SRModel, name: str) -> str:
    weight: Any = model.net.get_submodule(name).weight
    return "×".join(map(str, weight.shape))


def _plain(value: Any) -> str:
    if value is None or value == []:
        return "none"
    if isinstance(value, dict):
        return ", ".join(f"{key} {each}" for key, each in value.items()) or "none"
    if isinstance(value, list) and not all(isinstance(each, int) for each in value):
        return ", ".join(map(str, value))
    return "×".join(map(str, value)) if isinstance(value, list) else str(value)
