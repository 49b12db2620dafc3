"""The tables of docs/performance.md: what quantization costs, as ratios of times measured in one run.

    python -m benchmarks.performance --data DATA --update docs/performance.md

DATA holds ``checkpoints/`` and ``images/bsds500-train``; without it, the embedded network and sample photographs serve.
Every figure stands beside a floor, what the same work would cost if nothing but it had to be done, on this machine.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

import calibration
import dfsq
from benchmarks.networks import NETWORKS, load
from benchmarks.tables import replace
from calibration.observing import observe
from calibration.planning import plan_layers
from calibration.selection import exact, exhaustive, kmeans
from dfsq import runtime
from dfsq.evaluation import samples
from dfsq.model import SRModel
from dfsq.networks.edsr import EDSR
from dfsq.nn import quantized_layers
from dfsq.quantizers.subset import nearest
from dfsq.quantizers.universal import UniversalSet

EMBEDDED = "edsr-baseline-x2"
SIZE = (180, 256)
"""Height and width of the LR image of the forward passes."""
REPEATS = 4
BITS = (8, 4, 2)
PEAK = """
import resource, sys
import calibration, dfsq
from dfsq.runtime import keep_freed_memory
keep_freed_memory()
model = dfsq.load("edsr-baseline-x2")
images = calibration.PatchStream(sys.argv[2:], scale=2, patches=int(sys.argv[1]))
calibration.quantize(model, images)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@dataclass(frozen=True)
class Row:
    """One ratio, and the least that it can be."""

    what: str
    ratio: float
    floor: float
    floor_is: str
    column: str = ""
    """Rows that differ in nothing else share a line of a table of their own."""

    @property
    def distance(self) -> float:
        """How many times the floor."""
        return self.ratio / self.floor


@click.command()
@click.option("--data", type=click.Path(path_type=Path, exists=True), help="Folder with the data.  [default: none]")
@click.option("--only", multiple=True, help="Parts to measure, by name.  [default: all]")
@click.option("--json", "output", type=click.Path(path_type=Path), default=Path("performance.json"), show_default=True)
@click.option("--update", type=click.Path(path_type=Path), help="File whose table is replaced.  [default: print]")
def main(data: Path | None, only: tuple[str, ...], output: Path, update: Path | None) -> None:
    """Measure, write JSON, and print the table or put it into a file."""
    runtime.keep_freed_memory()
    runtime.compile_quantizers()
    images = [data / "images" / "bsds500-train"] if data else samples.calibration_images()
    parts: dict[str, Callable[[], Iterator[Row]]] = {
        "forward": lambda: forward(data, images),
        "argmin": argmin,
        "size": lambda: size(images),
        "layers": lambda: layers(images),
        "selection": lambda: selection(images),
        "quantize": lambda: quantize(images),
        "memory": lambda: memory(data),
        "start": start,
    }
    rows: list[Row] = []
    for name, part in parts.items():
        if not only or name in only:
            for row in part():
                click.echo(f"{row.what} {row.column}: {row.ratio:.3g} (floor {row.floor:.3g})", err=True)
                rows.append(row)
    output.write_text(json.dumps([{**asdict(row), "distance": row.distance} for row in rows], indent=1) + "\n")
    if update is None:
        click.echo(table(rows))
    else:
        replace(update, "performance", "performance", table(rows))


def table(rows: Sequence[Row]) -> str:
    """Markdown: first the rows with columns, where each ratio is followed by its distance."""
    columns = list(dict.fromkeys(row.column for row in rows if row.column))
    lines = []
    if columns:
        lines = [
            f"| quantized / FP32 forward | {' | '.join(columns)} | floor |",
            f"|---|{'---:|' * (len(columns) + 1)}",
        ]
        for what in dict.fromkeys(row.what for row in rows if row.column):
            cells = {row.column: row for row in rows if row.what == what}
            texts = (f"{each.ratio:.2f} ({each.distance:.2f})" for each in map(cells.__getitem__, columns))
            lines.append(f"| {what} | {' | '.join(texts)} | {cells[columns[0]].floor:.2f} |")
        lines.append("")
    lines += ["| what | ratio | floor | distance | the floor is |", "|---|---:|---:|---:|---|"]
    lines += [
        f"| {row.what} | {row.ratio:.3g} | {row.floor:.3g} | {row.distance:.2f} | {row.floor_is} |"
        for row in rows
        if not row.column
    ]
    return "\n".join(lines)


def seconds(*functions: Callable[[], object], repeats: int = REPEATS) -> list[float]:
    """Least time of each of ``functions``, run in turns so that whatever else the machine does meets all of them."""
    least = [float("inf")] * len(functions)
    for repeat in range(repeats + 1):
        for index, function in enumerate(functions):
            started = time.perf_counter()
            function()
            if repeat:  # the first round warms up
                least[index] = min(least[index], time.perf_counter() - started)
    return least


def patches(images: Sequence[Path | object], scale: int, count: int) -> calibration.PatchStream:
    """Patches to calibrate on."""
    return calibration.PatchStream(images, scale=scale, patches=count)  # type: ignore[arg-type]


def forward(data: Path | None, images: Sequence[Path]) -> Iterator[Row]:
    """Quantized against full-precision forward passes."""
    for name in NETWORKS if data else [EMBEDDED]:
        model = load(data, name) if data else dfsq.load(name)
        few = patches(images, model.scale, 1)
        candidates = {
            f"W{b}A{b}": calibration.quantize(model, few, calibration.recipe("fast", w_bits=b, a_bits=b)) for b in BITS
        }
        fed = calibration.recipe("fast", feedback=True)
        candidates["W4A4, error feedback"] = calibration.quantize(model, few, fed)
        x = torch.rand(1, 3, *SIZE)
        maps = quantized_maps(candidates["W4A4"], x)
        for kind, mode in (("eager", runtime.without_compiled_code), ("compiled", nullcontext)):
            copy = lambda: [each.clone() for each in maps]  # noqa: B023, E731
            runs = [partial(model, x), copy, *(partial(each, x) for each in candidates.values())]
            with torch.inference_mode(), mode():
                plain, copying, *times = seconds(*runs)
            # A copy reads and writes every value; statistics read it once more.
            floor = 1 + 1.5 * copying / plain
            for label, taken in zip(candidates, times, strict=True):
                yield Row(f"{name}, {kind}", taken / plain, floor, "read twice, write once", label)


def quantized_maps(model: SRModel, x: Tensor) -> list[Tensor]:
    """What a forward pass quantizes."""
    maps: list[Tensor] = []
    handles = [
        layer.input_quantizer.register_forward_pre_hook(lambda _, inputs: maps.append(inputs[0].clone()))
        for _, layer in quantized_layers(model.net)
        if layer.input_quantizer is not None
    ]
    with torch.inference_mode():
        model(x)
    for handle in handles:
        handle.remove()
    return maps


def argmin() -> Iterator[Row]:
    """What most fake quantizers do: the distance of every value to every point."""
    model = dfsq.load(EMBEDDED)
    quantized = calibration.quantize(model, patches(samples.calibration_images(), model.scale, 1))
    quantizer = next(layer.input_quantizer for _, layer in quantized_layers(quantized.net) if layer.input_quantizer)
    x = torch.randn(1, 64, 96, 96).contiguous(memory_format=torch.channels_last)
    points = quantizer.universal.values(quantizer.points)

    def naive() -> Tensor:
        flat = x[0].flatten(1)
        mean = flat.mean(1, keepdim=True)
        spread = (flat - mean).abs().amax(1, keepdim=True)
        codes = nearest((flat - mean) / spread, points)
        return points.gather(1, codes) * spread + mean

    with torch.inference_mode(), runtime.without_compiled_code():
        table, slow = seconds(lambda: quantizer(x), naive)
    yield Row("argmin over all points / table, one map of 64×96×96 at 4 bits", slow / table, 1, "the table")


def size(images: Sequence[Path]) -> Iterator[Row]:
    """Cost per pixel of a large image against a small one."""
    model = dfsq.load(EMBEDDED)
    quantized = calibration.quantize(model, patches(images, model.scale, 1))
    small, large = torch.rand(1, 3, 96, 128), torch.rand(1, 3, 384, 512)
    with torch.inference_mode():
        for label, each in (("FP32", model), ("W4A4", quantized)):
            times = seconds(partial(each, small), partial(each, large))
            yield Row(f"{label} forward, 512×384 / 16 of 128×96", times[1] / times[0] / 16, 1, "linear in pixels")


def layers(images: Sequence[Path]) -> Iterator[Row]:
    """Cost per layer of a deep network against a shallow one."""
    times = []
    for blocks in (8, 32):
        net = EDSR(scale=2, blocks=blocks, features=64, residual_scale=1.0)
        model = dfsq.networks.from_state(net.state_dict())
        (taken,) = seconds(lambda: calibration.quantize(model, patches(images, 2, 4)), repeats=2)  # noqa: B023
        times.append(taken / blocks)
    yield Row("quantize, a block of EDSR with 32 / with 8 blocks", times[1] / times[0], 1, "linear in layers")


def selection(images: Sequence[Path]) -> Iterator[Row]:
    """Exact selection against K-means and against trying all subsets."""
    model = dfsq.load(EMBEDDED)
    recipe = calibration.recipe("fast")
    names = [name for name, bits in plan_layers(model, recipe).items() if bits.a_bits]
    observers = observe(model, names, patches(images, model.scale, 32), recipe, lambda *_: None)
    histograms = [each.histogram() for each in observers.values()]
    universal = UniversalSet()
    started = time.perf_counter()
    for histogram in histograms:
        exact.select(histogram, universal, 16)
    everything = time.perf_counter() - started
    some = histograms[:4]
    edges = torch.rand(len(universal) * (len(universal) - 1) // 2, dtype=torch.float64)
    with threadpool_limits(1):
        fast, slow, adding = seconds(
            lambda: [exact.select(each, universal, 16) for each in some],
            lambda: [kmeans.select(each, universal, 16) for each in some],
            lambda: torch.add(edges, 1.0, out=edges),
            repeats=2,
        )
    click.echo(f"all {sum(map(len, histograms))} channels exactly: {everything:.1f} s", err=True)
    yield Row("K-means + snap / exact selection, 16 of 377 points", slow / fast, 1, "exact selection")
    floor = 15 * sum(map(len, some)) * adding
    yield Row("exact selection / adding all edges once per point", fast / floor, 1, "k·n²/2 additions, one thread")
    tiny = UniversalSet(2)
    small = torch.randint(0, 100, (4, tiny.bins))
    quick, brute = seconds(lambda: exact.select(small, tiny, 4), lambda: exhaustive.select(small, tiny, 4), repeats=2)
    yield Row(f"all subsets of 4 of {len(tiny)} points / exact selection", brute / quick, 1, "exact selection")


def quantize(images: Sequence[Path]) -> Iterator[Row]:
    """The whole of it against one pass of the network over the calibration patches."""
    model = dfsq.load(EMBEDDED)
    batches = list(patches(images, model.scale, 16))

    def once() -> None:
        for batch in batches:
            model(batch)

    with torch.inference_mode():
        (plain,) = seconds(once, repeats=2)
    for name in ("fast", "accurate", "paper"):
        recipe = calibration.recipe(name, patches=16)
        started = time.perf_counter()
        calibration.quantize(model, batches, recipe)
        taken = time.perf_counter() - started
        yield Row(f"{name}, 16 patches / one FP32 pass over them", taken / plain, 1, "the pass")


def memory(data: Path | None) -> Iterator[Row]:
    """Peak memory of a process that calibrates on many images against few."""
    images = [str(data / "images" / "bsds500-train")] if data else []
    if images:
        few, many = (
            int(subprocess.run([sys.executable, "-c", PEAK, count, *images], capture_output=True, check=True).stdout)
            for count in ("16", "128")
        )
        yield Row("peak memory, 128 / 16 patches", many / few, 1, "no growth")


def start() -> Iterator[Row]:
    """How long it takes until there is something to see."""
    model = dfsq.load(EMBEDDED)
    quantized = calibration.quantize(model, patches(samples.calibration_images(), model.scale, 1))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "artifact.safetensors"
        dfsq.save(quantized, path)
        checkpoint, artifact = seconds(lambda: dfsq.load(EMBEDDED), lambda: dfsq.load(path))
    yield Row("loading an artifact / its checkpoint", artifact / checkpoint, 1, "the checkpoint")
    commands = [[sys.executable, "-c", "import click"], [sys.executable, "-m", "dfsq", "--help"]]
    plain, help_ = seconds(*(lambda each=each: subprocess.run(each, stdout=subprocess.DEVNULL) for each in commands))  # type: ignore[misc]
    yield Row("dfsq --help / import click", help_ / plain, 1, "Python and click")


if __name__ == "__main__":
    main()
