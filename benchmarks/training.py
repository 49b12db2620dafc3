"""What training gains: the tables of ``trained`` in docs/accuracy.md. :mod:`benchmarks.accuracy` measures the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dfsq.model import SRModel

Row = Mapping[str, float]

NETWORK, BITS, STEPS = "EDSR-baseline ×2", 2, 200
"""What the ablation is measured on."""
ABLATIONS: dict[str, dict[str, Any]] = {
    "as taken": {},
    "without error feedback": {"feedback": False},
    "ranges fixed per channel": {"ranges": "fixed"},
    "ranges of whole maps": {"ranges": "sample", "block": None},
    "the last half of the steps towards HR images": {"objective": "target", "target_share": 0.5},
    "absolute differences alone": {"squared_share": 0.0},
    "any crops": {"candidates": 1},
    "rates halved": {"weight_rate": 0.008, "level_rate": 0.0005, "point_rate": 0.001, "bias_rate": 0.00025},
    "rates doubled": {"weight_rate": 0.032, "level_rate": 0.002, "point_rate": 0.004, "bias_rate": 0.001},
    "9 crops of 32×32": {"batch": 9, "crop_size": 32},
    "1 crop of 96×96": {"batch": 1, "crop_size": 96},
    "products in bfloat16": {"precision": "bf16"},
}


def key_of(label: str) -> str:
    """Where the row of an ablation is kept."""
    return f"{NETWORK} | trained, {label} | {BITS}"


def figures(model: SRModel) -> Row:
    """What a trained ``model`` says of its training: steps, and drops in dB on the images set aside."""
    assert model.quantization is not None
    found = model.quantization.calibration
    return {
        "steps": model.quantization.recipe["steps"],
        "drop_before": found["drop_before"],
        "drop": found["drop"],
    }


def table(measured: Mapping[str, Row], sets: Mapping[str, str], widths: Sequence[int]) -> str:
    """Drops of ``trained``, beside those of ``accurate`` on the same set."""
    lines = [
        "| network | bits | steps | images set aside | Set5 | other set | `accurate` there | MB |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for network, other in sets.items():
        full = measured.get(f"{network} | FP32", {})
        for bits in sorted(widths):
            row = measured.get(f"{network} | trained | {bits}")
            if row is None:
                continue
            accurate = measured.get(f"{network} | accurate | {bits}")
            cells = [
                network,
                f"W{bits}A{bits}",
                f"{row['steps']:.0f}",
                f"{row['drop_before']:.2f} → {row['drop']:.2f}",
                f"{full['Set5'] - row['Set5']:.2f}",
                f"{full['psnr'] - row['psnr']:.2f} ({other})",
                "–" if accurate is None else f"{full['psnr'] - accurate['psnr']:.2f}",
                f"{row['bytes'] / 1e6:.2f}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def ablation_table(measured: Mapping[str, Row]) -> str:
    """Drops on the images set aside, before and after :data:`STEPS` steps, with one choice changed."""
    lines = [f"| {NETWORK}, W{BITS}A{BITS}, {STEPS} steps | before | after |", "|---|---:|---:|"]
    for label in ABLATIONS:
        row = measured.get(key_of(label))
        if row is not None:
            lines.append(f"| {label} | {row['drop_before']:.3f} | {row['drop']:.3f} |")
    return "\n".join(lines)
