"""``dfsq eval``: score models on benchmarks, and judge them by gates."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from cli import completion
from cli.console import note, print_report, print_text, tell
from cli.engines import check_engine, engine_options, open_engine
from cli.loading import checkpoint_options
from cli.options import (
    check_sets,
    common_options,
    compile_option,
    data_options,
    prepare,
    quiet_option,
    report_option,
    set_option,
)
from cli.outputs import check_inputs_survive, check_outputs, image_files, with_pictures, write_reports
from cli.pictures import Gallery, ImageFolder
from cli.provenance import provenance, with_artifacts
from cli.scoring import find_sets, score_models, set_of_folders
from cli.values import Number, NumberFor, split_commas
from dfsq import distributed, limits
from dfsq.engines.registry import F32
from dfsq.files import make_folder

if TYPE_CHECKING:
    from dfsq.engines.engine import Engine
    from dfsq.evaluation.benchmarks import Benchmark
    from dfsq.evaluation.evaluator import Upscaled
    from dfsq.evaluation.perceptual import Metric
    from dfsq.report.findings import Findings
    from dfsq.report.gates import Check
    from dfsq.report.report import Report

GATE_FAILED = 3


@click.command(name="eval")
@click.argument("models", metavar="MODEL...", nargs=-1, required=True, shell_complete=completion.models)
@data_options
@set_option("all that are there")
@click.option("--hr", type=click.Path(path_type=Path), help="Folder of HR images, instead of --data.  [default: none]")
@click.option("--lr", type=click.Path(path_type=Path), help="Folder of their LR images.  [default: MATLAB bicubic]")
@click.option(
    "--metrics",
    metavar="NAME",
    multiple=True,
    callback=split_commas,
    help="Scores by pyiqa too, for example lpips,niqe; repeatable or comma-separated. You install it yourself: its "
    "licence is for non-commercial use.  [default: none]",
)
@click.option("--bicubic", is_flag=True, help="Add bicubic interpolation as a last row.  [default: off]")
@click.option("--per-image", is_flag=True, help="A row per image.  [default: off]")
@click.option("--json", "stdout", flag_value="json", help="Print JSON alone, unrounded.  [default: a table]")
@click.option("--csv", "stdout", flag_value="csv", help="Print CSV alone, a line per image.  [default: a table]")
@click.option("--md", "stdout", flag_value="md", help="Print Markdown alone.  [default: a table]")
@report_option
@click.option(
    "--save-images",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Write upscaled images to DIR/MODEL/SET/NAME.png.  [default: none]",
)
@click.option(
    "--max-drop",
    metavar="DB",
    type=Number(float, limits.DROP),
    help="Gate: largest drop against the first model.  [default: none]",
)
@click.option(
    "--min-psnr",
    metavar="SET=DB",
    shell_complete=completion.sets_with_limits,
    multiple=True,
    type=NumberFor("SET=DB", "Set5=37.5", Number(float, limits.PSNR)),
    help="Gate: least Y-PSNR; repeatable.  [default: none]",
)
@click.option(
    "--baseline",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Gate: JSON report that no model may fall below.  [default: none]",
)
@click.option(
    "--tolerance",
    metavar="DB",
    type=Number(float, limits.TOLERANCE),
    default=0.0,
    show_default=True,
    help="Allowance of --baseline.",
)
@engine_options(F32)
@checkpoint_options
@compile_option
@quiet_option
@common_options
def evaluate(
    models: tuple[str, ...],
    data: Path | None,
    sets: tuple[str, ...],
    hr: Path | None,
    lr: Path | None,
    metrics: tuple[str, ...],
    bicubic: bool,
    per_image: bool,
    stdout: str | None,
    reports: tuple[Path, ...],
    save_images: Path | None,
    max_drop: float | None,
    min_psnr: tuple[tuple[str, float], ...],
    baseline: Path | None,
    tolerance: float,
    engine: str | None,
    precision: str,
    device: str,
    compile_: bool | None,
    quiet: bool,
    **overrides: Any,
) -> int:
    """Score checkpoints, artifacts and graphs (.onnx, OpenVINO's .xml) on benchmark sets; drops are against the first.

    \b
    dfsq eval model.pth model-w4a4.safetensors --data benchmark/ --set Set5,Set14
    dfsq eval model.pth model-w4a4.safetensors --hr photos/ --max-drop 0.1
    dfsq eval model.pth model.onnx --data benchmark/ --set Set5
    """
    context = click.get_current_context()
    if hr and context.get_parameter_source("data") is ParameterSource.ENVIRONMENT:
        data = None  # what is typed wins over what is set for good
    _check_options(data, sets, hr, lr, len(models), max_drop)

    from dfsq.evaluation.evaluator import evaluate_bicubic
    from dfsq.report.findings import Findings
    from dfsq.report.json_report import read_json
    from dfsq.report.report import ModelReport, Report

    check_engine(engine, models, device=device != "cpu", compile=bool(compile_))
    device = prepare(device, compile_, quiet)
    inputs: tuple[str | Path, ...] = (*models, *(path for path in (baseline, hr, lr) if path))
    check_outputs(inputs, [], reports)
    earlier = read_json(baseline) if baseline else None
    others = _metrics(metrics, device)
    loaded = [
        (name, open_engine(path, quiet, engine, precision, device=device, **overrides), _size(path))
        for name, path in _names(models).items()
    ]
    scale = _common_scale(loaded)
    benchmarks = set_of_folders(hr, lr, scale, quiet) if hr else find_sets(data, sets, scale, quiet)
    if not (data or hr):
        from dfsq.evaluation.samples import NOTE

        note(f"no --data and no --hr: {NOTE}", quiet)
    gates = partial(_judge, max_drop=max_drop, min_psnr=dict(min_psnr), baseline=earlier, tolerance=tolerance)
    gates(_planned(loaded, benchmarks))  # what cannot be judged is not worth the work
    gallery = Gallery(loaded[0][0], loaded[-1][0]) if len(loaded) > 1 and with_pictures(reports) else None
    folder = ImageFolder(save_images, [name for name, _, _ in loaded], benchmarks) if save_images else None
    check_inputs_survive((*inputs, *image_files(benchmarks)), (*reports, *(folder.paths if folder else ())))
    if save_images:
        make_folder(save_images)  # before the work, which would be lost

    def keep(name: str, image: Upscaled) -> None:
        for receiver in (gallery, folder):
            if receiver is not None and distributed.is_main():
                receiver.add(name, image)

    files = _names(models)
    report = with_artifacts(Report(score_models(loaded, benchmarks, quiet, keep, others)), files)
    if others:
        told = {each.name: {"lower_better": each.lower_better} for each in others}
        report = replace(report, details={**report.details, "metrics": told})
    checks = gates(report)
    if bicubic:
        row = ModelReport("bicubic", "bicubic", scale, evaluate_bicubic(benchmarks))
        report = replace(report, models=(*report.models, row))
    findings = Findings(report, _title(report), checks=checks, **provenance(files))
    if gallery:
        findings = replace(findings, **gallery.findings(loaded[0][1], loaded[-1][1]))
    write_reports(reports, findings)
    if distributed.is_main():
        _append_to_job_summary(findings, quiet)
    _print(replace(findings, per_image=per_image), stdout)
    for check in checks:
        if check.passed:
            note(str(check), quiet)
        elif distributed.is_main():
            tell(str(check))
    return 0 if all(check.passed for check in checks) else GATE_FAILED


def _metrics(names: tuple[str, ...], device: str) -> list[Metric]:
    if not names:
        return []
    from dfsq.evaluation.perceptual import metrics

    return metrics(names, device)


def _check_options(
    data: Path | None, sets: tuple[str, ...], hr: Path | None, lr: Path | None, models: int, max_drop: float | None
) -> None:
    if data and hr:
        raise click.UsageError("--data and --hr exclude each other")
    check_sets(sets, data)
    if lr and not hr:
        raise click.UsageError("--lr needs --hr, the folder of the HR images")
    if max_drop is not None and models < 2:
        raise click.UsageError("--max-drop needs two models: the full-precision one first, then the quantized one")


def _names(paths: tuple[str, ...]) -> dict[str, str]:
    """Paths by what the report calls them: the file's name, or the whole path where names collide."""
    from dfsq.errors import UsageError

    if len(set(paths)) < len(paths):
        raise UsageError("a model is named twice; name each once")
    names = [Path(path).name for path in paths]
    return {path if names.count(name) > 1 else name: path for name, path in zip(names, paths, strict=True)}


def _title(report: Report) -> str:
    first, *others = (model.name for model in report.models)
    return first if not others else f"{others[0]} against {first}" if len(others) == 1 else f"{first} and others"


def _size(path: str) -> int | None:
    """Bytes of a model's file, with the weights that OpenVINO keeps beside its own."""
    from dfsq.embedded import located

    with located(path) as file:
        if not file.exists():
            return None
        weights = file.with_suffix(".bin")
        beside = weights.stat().st_size if file.suffix.lower() == ".xml" and weights.is_file() else 0
        return file.stat().st_size + beside


def _common_scale(models: list[tuple[str, Engine, int | None]]) -> int:
    from dfsq.errors import UsageError

    scales = {model.scale for _, model, _ in models}
    if len(scales) > 1:
        each = ", ".join(f"{name} ×{model.scale}" for name, model, _ in models)
        raise UsageError(f"models of different scales cannot be compared: {each}; evaluate them one by one")
    return scales.pop()


def _planned(models: list[tuple[str, Engine, int | None]], benchmarks: list[Benchmark]) -> Report:
    """The report to come, without its scores."""
    from dfsq.evaluation.results import ImageResult, Scores, SetResult
    from dfsq.report.report import ModelReport, Report

    none = Scores(0, 0, 0, 0)
    sets = tuple(
        SetResult(each.name, each.scale, each.lr_supplied, tuple(ImageResult(pair.name, none) for pair in each.pairs))
        for each in benchmarks
    )
    return Report(tuple(ModelReport(name, model.info.architecture, model.scale, sets) for name, model, _ in models))


def _judge(
    report: Report, max_drop: float | None, min_psnr: Mapping[str, float], baseline: Report | None, tolerance: float
) -> list[Check]:
    from dfsq.report import gates

    checks = gates.max_drop(report, max_drop) if max_drop is not None else []
    checks += gates.min_psnr(report, min_psnr)
    return checks + (gates.against_baseline(report, baseline, tolerance) if baseline else [])


def _print(findings: Findings, form: str | None) -> None:
    from dfsq.report.json_report import to_json
    from dfsq.report.markdown import to_markdown
    from dfsq.report.sections import sections
    from dfsq.report.spreadsheet import images, to_csv

    if form is None:
        print_report(findings.report, findings.per_image)
    elif form == "json":
        click.echo(to_json(findings.report, findings.checks), nl=False)
    elif form == "csv":
        print_text(to_csv(images(findings.report)))
    else:
        print_text(to_markdown(sections(findings)))


def _append_to_job_summary(findings: Findings, quiet: bool) -> None:
    from dfsq.report.markdown import to_markdown
    from dfsq.report.sections import sections

    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path:
        return
    try:
        with open(path, "a", encoding="utf-8", errors="backslashreplace") as summary:
            summary.write(to_markdown(sections(findings), "dfsq eval") + "\n")
    except OSError as error:
        note(f"cannot append to GITHUB_STEP_SUMMARY: {error.strerror or error}", quiet)
