"""The tables of docs/deployment.md: integers in the engines that run them, beside what others make of the same network.

    python -m benchmarks.deployment --data DATA --update docs/deployment.md

DATA holds ``benchmark/SET``, ``checkpoints/`` and ``images/bsds500-train``. Needs the extras onnx and openvino, and
``pip install nncf`` for that row. Every file made and every score is kept in ``--work``, so that an interrupted run
goes on where it stopped; times are taken anew, all systems of a network in turns.
``ONEDNN_MAX_CPU_ISA=AVX512_CORE_VNNI`` shows what OpenVINO does without AMX, ``AVX2`` without VNNI.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import torch

import dfsq
from benchmarks import peers
from benchmarks.networks import NETWORKS as TABLED
from benchmarks.networks import quantized
from benchmarks.tables import replace
from calibration import PatchStream, recipe
from dfsq.export import export
from dfsq.model import SRModel
from dfsq.runtime import keep_freed_memory

NETWORKS = {**TABLED, "RFDN ×4": ("RFDN_AIM_x4.pth", 4)}
SETS = ("Set14", "Urban100-dev")
SIZE = 256
"""Height and width of the LR image that is timed."""
ROUNDS = 9
SYSTEMS: dict[str, tuple[str, str | None]] = {
    "torch FP32": ("fp32", "torch"),
    "ONNX Runtime FP32": ("fp32", "onnxruntime"),
    "OpenVINO f32": ("fp32", "openvino"),
    "dfsq int8, OpenVINO": ("int8", "openvino"),
    "dfsq int8, ONNX Runtime": ("int8-ort", "onnxruntime"),
    "NNCF, OpenVINO": ("nncf", "openvino"),
    "ONNX Runtime quantize_static": ("static", "onnxruntime"),
}
"""What is compared: the file that it runs, and the engine."""


@click.command()
@click.option("--data", required=True, type=click.Path(path_type=Path, exists=True), help="Folder with the data.")
@click.option("--only", multiple=True, help="Networks to measure, by name.  [default: all]")
@click.option("--systems", multiple=True, help="Rows to measure, by name.  [default: all]")
@click.option("--no-times", is_flag=True, help="Scores alone.  [default: off]")
@click.option("--no-scores", is_flag=True, help="Times alone.  [default: off]")
@click.option("--work", type=click.Path(path_type=Path), default=Path("deployment"), show_default=True)
@click.option("--update", type=click.Path(path_type=Path), help="File whose table is replaced.  [default: print]")
def main(
    data: Path,
    only: tuple[str, ...],
    systems: tuple[str, ...],
    no_times: bool,
    no_scores: bool,
    work: Path,
    update: Path | None,
) -> None:
    """Measure what ``--work`` lacks, then print the table or put it into a file."""
    keep_freed_memory()
    work.mkdir(exist_ok=True)
    cache = work / "scores.json"
    measured: dict[str, dict[str, Any]] = json.loads(cache.read_text()) if cache.exists() else {}
    chosen = [name for name in SYSTEMS if (not systems or name in systems) and _is_there(name)]
    for network in [name for name in NETWORKS if not only or name in only]:
        files = Files(data, network, work)
        for system in chosen:
            key = f"{network} | {system}"
            if key not in measured and not no_scores:
                click.echo(f"{key} …", err=True)
                measured[key] = score(files, system)
                cache.write_text(json.dumps(measured, indent=1))
        if not no_times:
            for system, figures in times(files, chosen).items():
                measured.setdefault(f"{network} | {system}", {}).update(figures)
            cache.write_text(json.dumps(measured, indent=1))
    text = table(measured)
    if update is None:
        click.echo(text)
    else:
        replace(update, "deployment", "deployment", text)


def _is_there(system: str) -> bool:
    return system != "NNCF, OpenVINO" or find_spec("nncf") is not None


class Files:
    """The files of one network, made when they are first asked for."""

    def __init__(self, data: Path, network: str, work: Path) -> None:
        self.data = data
        self.network = network
        file, self._scale = NETWORKS[network]
        self._stem = work / network.replace(" ×", "-x").replace(" ", "-").lower()
        self._checkpoint = data / "checkpoints" / file
        self._makers: Mapping[str, tuple[str, Callable[[Path], None]]] = {
            "onnx": (".onnx", lambda path: self._export(self._checkpoint, path)),
            "artifact": ("-int8.safetensors", lambda path: self._quantize(path, "openvino")),
            "artifact-ort": ("-int8-ort.safetensors", lambda path: self._quantize(path, "onnxruntime")),
            "int8": ("-int8.onnx", lambda path: self._export(self.path("artifact"), path)),
            "int8-ort": ("-int8-ort.onnx", lambda path: self._export(self.path("artifact-ort"), path)),
            "nncf": ("-nncf.xml", lambda path: peers.nncf(self.path("onnx"), path, self._feed())),
            "static": (
                "-static.onnx",
                lambda path: peers.onnxruntime_static(self.path("onnx"), path, self._feed(), "lr"),
            ),
        }

    def path(self, kind: str) -> Path:
        """The file called ``kind``."""
        suffix, make = self._makers[kind]
        path = self._stem.with_name(self._stem.name + suffix)
        if not path.exists():
            make(path)
        return path

    def model(self) -> SRModel:
        """The network in full precision."""
        return dfsq.load(self._checkpoint, scale=self._scale)

    def engine(self, system: str) -> Any:
        """What runs ``system``; float graphs in float32."""
        kind, name = SYSTEMS[system]
        if name == "torch":
            return dfsq.engine(self.model(), name, precision="f32")
        return dfsq.engine(self.path("onnx" if kind == "fp32" else kind), name, precision="f32")

    def size(self, system: str) -> float:
        """Bytes of the file against those of the float graph's parameters."""
        path = self.path({"fp32": "onnx"}.get(SYSTEMS[system][0], SYSTEMS[system][0]))
        bytes_ = path.stat().st_size + (path.with_suffix(".bin").stat().st_size if path.suffix == ".xml" else 0)
        return bytes_ / (4 * sum(each.numel() for each in self.model().parameters()))

    def _export(self, source: Path, path: Path) -> None:
        export(dfsq.load(source, scale=self._scale), path)

    def _quantize(self, path: Path, target: str) -> None:
        dfsq.save(quantized(self.data, self.model(), recipe("int8", target=target)), path)

    def patches(self, count: int) -> PatchStream:
        """Pictures to calibrate on, and to be timed on: networks may diverge on noise."""
        return PatchStream([self.data / "images" / "bsds500-train"], scale=self._scale, patches=count)

    def _feed(self) -> peers.Feed:
        return peers.pictures(self.patches(32))


def score(files: Files, system: str) -> dict[str, Any]:
    """Y-PSNR per set, as the engine computes it, and the file's size against FP32."""
    results = dfsq.evaluate(files.engine(system), files.data / "benchmark", SETS)
    return {**{each.name: each.mean.psnr_y for each in results}, "size": files.size(system)}


def times(files: Files, systems: list[str]) -> dict[str, dict[str, Any]]:
    """Median seconds of every system for one image, all of them in turns, and the instruction set."""
    engines = {system: files.engine(system) for system in systems}
    image = torch.nn.functional.interpolate(next(iter(files.patches(1))), (SIZE, SIZE), mode="bicubic").clamp(0, 1)
    taken: dict[str, list[float]] = {system: [] for system in systems}
    for _ in range(ROUNDS):
        for system, engine in engines.items():
            started = time.perf_counter()
            engine(image)
            taken[system].append(time.perf_counter() - started)
    return {
        system: {
            "seconds": statistics.median(taken[system][1:]),
            "instructions": engines[system].description.instructions,
        }
        for system in systems
    }


def table(measured: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown: per network and system the drops, the size, and the time against the engine's own FP32."""
    lines = [
        f"| network | system | {' | '.join(f'{each} drop' for each in SETS)} | size | × its engine's FP32 | × torch |",
        "|---|---|" + "---:|" * (len(SETS) + 3),
    ]
    for network in NETWORKS:
        rows = {system: measured.get(f"{network} | {system}") for system in SYSTEMS}
        full = rows["OpenVINO f32"]
        if full is None:
            continue
        shown = network
        for system, row in rows.items():
            if row is None:
                continue
            reference = rows["ONNX Runtime FP32" if SYSTEMS[system][1] == "onnxruntime" else "OpenVINO f32"]
            drops = [f"{full[each] - row[each]:.3f}" if each in row else "–" for each in SETS]
            ratios = [_ratio(reference, row), _ratio(rows["torch FP32"], row)]
            cells = [*drops, f"{row['size']:.2f}" if "size" in row else "–", *ratios]
            lines.append(f"| {shown} | {system} | {' | '.join(cells)} |")
            shown = ""
    found = sorted({row["instructions"] for row in measured.values() if "instructions" in row})
    note = (
        "Drops of Y-PSNR in dB, scored in the engine; size against parameters in float32; how many times as fast as "
        f"FP32 in the same engine and in torch, for {SIZE}×{SIZE} pixels: medians, all systems in turns, "
        f"{torch.get_num_threads()} threads{', ' + ', '.join(found) if found else ''}."
    )
    return "\n".join([*lines, "", note])


def _ratio(reference: Mapping[str, Any] | None, row: Mapping[str, Any]) -> str:
    if reference is None or "seconds" not in reference or "seconds" not in row:
        return "–"
    return f"{reference['seconds'] / row['seconds']:.2f}"


if __name__ == "__main__":
    main()
