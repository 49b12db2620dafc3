"""What ``dfsq inspect`` prints: tables of an artifact and of a checkpoint, and the levels of a layer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.console import print_lines, print_table
from cli.shares import percent, share_facts
from dfsq.report.report import size_text

if TYPE_CHECKING:
    from dfsq.artifact.contents import Contents
    from dfsq.model import SRModel

Rows = list[tuple[str, str]]


def print_checkpoint(file: str, size: int, model: SRModel) -> None:
    """Print what a checkpoint of ``size`` bytes was taken for, and its body scope."""
    from dfsq.networks.multiply_adds import of_model

    info, shares = model.info, of_model(model)
    rows = _network(info, sum(parameter.numel() for parameter in model.parameters()), _file(file, size))
    rows += share_facts(shares, "in body scope", "in other layers that can be quantized").items()
    print_table(f"{file}: full-precision checkpoint", ("", ""), rows)
    layers = [(name, _shape(model, name), percent(shares.layers.get(name, 0))) for name in model.body]
    print_table("Body scope", ("layer", "weight", "multiply-adds"), layers, (2,))


def print_artifact(file: str, size: int, found: Contents, model: SRModel | None) -> None:
    """Print what an artifact of ``size`` bytes says of itself, and how its multiply-adds divide where there is a
    ``model`` of it."""
    header = found.header
    rows = _network(header, found.parameters, _file(file, size))
    behind: Mapping[str, int] | None = {} if not header.places else None
    if model is not None:
        from dfsq.networks.multiply_adds import behind_places, of_model

        rows += share_facts(of_model(model), "quantized", "with quantized weights alone").items()
        behind = behind_places(model)
    calibration = ", ".join(f"{key} {_plain(value)}" for key, value in header.calibration.items())
    rows += [
        ("calibration", calibration or "not recorded"),
        ("made from", f"{header.source['file']}, sha256 {header.source['sha256']}"),
        ("made with", ", ".join(f"{name} {version}" for name, version in header.versions.items())),
        ("format version", str(header.version)),
    ]
    print_table(f"{file}: dfsq artifact", ("", ""), rows)
    print_table("Recipe", ("", ""), [(key, _plain(value)) for key, value in sorted(header.recipe.items())])
    layers = {
        name: (
            "×".join(map(str, each.shape)),
            f"{each.w_bits} {each.weights}",
            _without(name, behind) if each.a_bits is None else _bits(each.a_bits, bool(each.signed)),
        )
        for name, each in header.layers.items()
    }
    _print_quantized("Quantized layers", ("layer", "weight", "weights", "input bits"), layers, found.bounds)
    if header.places:
        places = {name: (_bits(each.bits, each.signed),) for name, each in header.places.items()}
        _print_quantized("Quantized places between layers", ("place", "bits"), places, found.bounds)


def print_levels(model: SRModel, layer: str) -> None:
    """Print what the input of ``layer``, a layer or place of a quantized ``model``, is rounded to."""
    from dfsq.nn import BoundsQuantizer, SubsetQuantizer, quantizers
    from dfsq.quantizers.bounds import levels

    quantizer = quantizers(model.net)[layer]
    if quantizer is None:
        print_lines(f"{layer}: the input stays in full precision; only its weights are quantized")
        return
    if isinstance(quantizer, BoundsQuantizer):
        gate = " before its gate moves the bounds" if quantizer.gate else ""
        found = " ".join(f"{value:+.4g}" for value in levels(quantizer.lower, quantizer.upper, quantizer.bits).tolist())
        print_lines(f"{layer}: levels of the whole tensor{gate}: {found}")
        return
    if not isinstance(quantizer, SubsetQuantizer):
        print_lines(f"{layer}: {quantizer.bits} bits, evenly spaced")
        return
    units = f"in units {quantizer.units}" if quantizer.fixed is None else "the same for every image"
    levels_of = enumerate(quantizer.levels().tolist())
    rows = [(str(index), " ".join(f"{value:+.4f}" for value in row)) for index, row in levels_of]
    if len(rows) == 1:
        rows = [("all", rows[0][1])]
    print_table(f"{layer}: quantization points, {units}", ("channel", "points"), rows)


def _network(info: Any, parameters: int, file: Rows) -> Rows:
    """Facts about a network from a header or a :class:`~dfsq.model.NetworkInfo`, which call them alike."""
    hyperparameters = ", ".join(f"{key} {_short(value)}" for key, value in info.hyperparameters.items())
    return [
        ("network", f"{info.architecture}{_how(info, 'architecture')}"),
        *([("code", f"sha256 {info.code['sha256'] or 'unknown'}")] if info.code else []),
        ("scale", f"×{info.scale}{_how(info, 'scale')}"),
        ("hyper-parameters", hyperparameters),
        ("input range", f"0–{info.rgb_range:g}{_how(info, 'rgb_range')}"),
        ("colour", "RGB" if info.channels == 3 else "luminance; Cb and Cr are enlarged bicubically"),
        ("weights", info.found.get("weights", "")),
        ("plausibility", "not checked" if info.fidelity is None else f"{info.fidelity:.1f} dB"),
        ("parameters", f"{parameters:,}"),
        *file,
    ]


def _file(file: str, size: int) -> Rows:
    return [("file", size_text(size))] if Path(file).exists() else []


def _how(info: Any, what: str) -> str:
    """How something about the network was found, in brackets."""
    return f" ({info.found[what]})" if what in info.found else ""


def _without(name: str, behind: Mapping[str, int] | None) -> str:
    """What a layer without an input quantizer takes; which layers are ``behind`` a place may be unknown."""
    if behind is None:
        return "–"
    return "of a place" if name in behind else "full"


def _print_quantized(
    title: str,
    columns: tuple[str, ...],
    facts: Mapping[str, tuple[str, ...]],
    bounds: Mapping[str, Mapping[str, Any]],
) -> None:
    """Print a table of layers or places, with bounds and gates where any of them has some."""
    if bounds.keys() & facts.keys():
        columns += ("bounds", "gate")
        facts = {name: row + _shown(bounds.get(name)) for name, row in facts.items()}
    print_table(title, columns, [(name, *row) for name, row in facts.items()])


def _shown(bounds: Mapping[str, Any] | None) -> tuple[str, ...]:
    """One of these as two columns of a table."""
    if bounds is None:
        return "", ""
    return f"{bounds['lower']:.4g} to {bounds['upper']:.4g}", "dynamic" if bounds["gate"] else ""


def _bits(bits: int, signed: bool) -> str:
    return f"{bits} {'signed' if signed else 'non-negative'}"


def _short(value: Any) -> str:
    """A hyper-parameter as a line holds it: spandrel's descriptions are long, and whole in the JSON."""
    return str(value) if not isinstance(value, dict | list) or len(str(value)) <= 40 else "…"


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
