import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import dfsq as api
from calibration import native
from cli.loading import checkpoint_flags
from dfsq.artifact import read_header
from dfsq.images.files import write_png
from dfsq.networks.edsr import EDSR
from dfsq.networks.swinir import SwinIR

QUICK = ("quantize", "model.pth", "--patches", "4", "--patch-size", "64", "--no-eval")


def test_one_command_from_checkpoint_to_artifact_and_scores(dfsq: Callable) -> None:
    run = dfsq(
        "quantize", "model.pth", "--bits", "3", "--calib", "photos", "--data", "benchmark", "--set", "Set5,Set14"
    )
    assert run.code == 0
    for expected in ("4 at W3A3", "× smaller", "32 patches of 96×96", "Set5 ×2", "Set14 ×2", "FP32", "W3A3"):
        assert expected in run.out
    assert "What is quantized" not in run.out  # which the first table tells
    model = api.load("model-w3a3.safetensors")
    assert model.quantization is not None
    assert model(torch.rand(1, 3, 8, 8)).shape == (1, 3, 16, 16)


@pytest.mark.parametrize("recipe", ["fast", "accurate", "minmax"])
def test_symmetric_weights_alone_are_no_integers_for_engines(dfsq: Callable, recipe: str) -> None:
    run = dfsq(*QUICK, "--recipe", recipe, "--weights", "symmetric", "--bits", "4")
    assert Path("model-w4a4.safetensors").exists()
    assert "next: dfsq eval model.pth model-w4a4.safetensors" in run.err


def test_evenly_spaced_points_are_called_so(dfsq: Callable) -> None:
    assert "evenly spaced points, mse weights" in dfsq(*QUICK, "--bits", "8").out
    assert "exact selection, mse weights" in dfsq(*QUICK, "--w-bits", "8", "--a-bits", "4").out


def test_where_calibration_cannot_be_compiled_it_goes_on_and_says_so(
    dfsq: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    script = """#!/bin/sh
case "$*" in */calibration/*) echo no room >&2; exit 1;; esac
exec cc "$@"
"""
    Path("cc").write_text(script)
    Path("cc").chmod(0o755)
    monkeypatch.setenv("CC", str(Path("cc").resolve()))
    native._attempt.cache_clear()
    try:
        run = dfsq(*QUICK)
    finally:
        native._attempt.cache_clear()
    assert run.code == 0
    assert run.err.count("layers are calibrated by torch, slower: ") == 1 and "no room" in run.err
    assert "activations are rounded" not in run.err


def test_the_next_step_is_a_command_that_runs(dfsq: Callable) -> None:
    run = dfsq(*QUICK, "-o", "a b.safetensors")
    (line,) = [each for each in run.err.splitlines() if each.startswith("next: ")]
    command = [each.replace("BENCHMARKS", "benchmark") for each in shlex.split(line.removeprefix("next: dfsq "))]
    assert dfsq(*command).code == 0
    run = dfsq(*QUICK[:-1], "-o", "b.safetensors", "--set", "Set5", "--data", "benchmark")
    assert "next: dfsq upscale b.safetensors IMAGE -o OUTPUT" in run.err


def test_all_sets_of_a_folder_that_is_typed_are_scored(dfsq: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by eval and compare; one that is set for good is named in the next step."""
    run = dfsq(*QUICK[:-1], "--data", "benchmark", "--report", "scored.json")
    assert "no --set: all of benchmark are scored at ×2: " in run.err
    scored = json.loads(Path("scored.json").read_text())["models"]
    evaluated = json.loads(dfsq("eval", "model.pth", "model-w4a4.safetensors", "--data", "benchmark", "--json").out)
    assert [each["sets"] for each in scored] == [each["sets"] for each in evaluated["models"]]
    assert "evaluated on" not in run.out
    monkeypatch.setenv("DFSQ_DATA", str(Path("benchmark").resolve()))
    run = dfsq(*QUICK[:-1])
    assert "evaluated on" in run.out and "no --set" not in run.err
    assert f"next: dfsq eval model.pth model-w4a4.safetensors --data {Path('benchmark').resolve()}\n" in run.err
    assert "Set5" not in dfsq(*QUICK, "--data", "benchmark").out


def test_the_next_step_reads_the_checkpoint_as_this_one_did(dfsq: Callable) -> None:
    run = dfsq(*QUICK, "--scale", "2", "--rgb-range", "255", "--arch", "EDSR", "--arch-arg", "residual_scale=1.0")
    (line,) = [each for each in run.err.splitlines() if each.startswith("next: ")]
    command = [each.replace("BENCHMARKS", "benchmark") for each in shlex.split(line.removeprefix("next: dfsq "))]
    assert command[:3] == ["eval", "model.pth", "model-w4a4.safetensors"]
    first, second = json.loads(dfsq(*command, "--json").out)["models"]
    assert 0 < abs(first["sets"][0]["psnr_y"] - second["sets"][0]["psnr_y"]) < 1


def test_integers_of_ones_own_recipe_are_exported_next(dfsq: Callable) -> None:
    Path("mine.yaml").write_text("method: integers\nw_bits: 7\na_bits: 8\nfloat_share: 0\n")
    run = dfsq(*QUICK, "--recipe", "mine.yaml")
    assert "next: dfsq export model-int8.safetensors -o model-int8.onnx" in run.err


def test_a_file_that_is_no_smaller_is_not_called_so(dfsq: Callable) -> None:
    torch.save(EDSR(scale=2, blocks=1, features=2, residual_scale=1.0).state_dict(), "tiny.pth")
    run = dfsq("quantize", "tiny.pth", "--force", *QUICK[2:])
    assert run.code == 0
    assert "no smaller" in run.out and "× smaller" not in run.out
    assert "codes" in run.out and "points and ranges" in run.out and "other" in run.out


def test_attention_is_in_scope_unless_the_body_alone_is(dfsq: Callable) -> None:
    torch.save(SwinIR(2, 8, [2], [2], 4, 12, "pixelshuffledirect").state_dict(), "swinir.pth")
    for options, said, places in (((), "10 at W4A4, 8 places between them", 8), (("--scope", "body"), "10 at W4A4", 0)):
        run = dfsq("quantize", "swinir.pth", "--force", "-o", "a.safetensors", *QUICK[2:], *options)
        assert run.code == 0 and said in run.out
        assert len(read_header(Path("a.safetensors")).get("places", {})) == places
    assert "places between" not in run.out


def test_same_command_gives_the_same_bytes_and_another_seed_does_not(dfsq: Callable) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert dfsq(*QUICK, "-o", f"{name}.safetensors", "--calib", "photos", "--seed", seed).code == 0
    a, b, c = (Path(f"{name}.safetensors").read_bytes() for name in "abc")
    assert a == b != c


def test_options_reach_the_artifact(dfsq: Callable) -> None:
    options = ("--w-bits", "3", "--a-bits", "5", "--recipe", "paper", "--selector", "exact", "--skip", "body.0.*")
    assert dfsq(*QUICK, "-o", "a.safetensors", *options, "--layer-bits", "body.1.body.2=6").code == 0
    header = read_header(Path("a.safetensors"))
    bits = {name: (layer["w_bits"], layer["a_bits"], layer["weights"]) for name, layer in header["layers"].items()}
    assert bits == {"body.1.body.0": (3, 5, "uniform"), "body.1.body.2": (6, 6, "uniform")}
    recipe = header["recipe"]
    assert (recipe["name"], recipe["selector"], recipe["patches"], recipe["patch_size"]) == ("paper", "exact", 4, 64)


def test_compensation_chooses_the_method_and_a_file_the_seed(dfsq: Callable) -> None:
    Path("mine.yaml").write_text("method: one-pass\nweights: mse\nseed: 7\n")
    run = dfsq(*QUICK, "-o", "a.safetensors", "--recipe", "mine.yaml", "--compensation")
    assert run.code == 0
    assert "mine: exact selection, mse weights, compensation" in run.out
    recipe = read_header(Path("a.safetensors"))["recipe"]
    assert (recipe["name"], recipe["method"], recipe["weights"], recipe["seed"]) == ("mine", "sequential", "mse", 7)
    assert not recipe.keys() & {"compensation", "restarts", "target"}


def test_layers_outside_the_body_can_stay_in_full_precision(dfsq: Callable) -> None:
    options = ("--outside-bits", "full", "--headroom", "none", "--block", "none")
    assert dfsq(*QUICK, "-o", "a.safetensors", *options).code == 0
    header = read_header(Path("a.safetensors"))
    assert all(name.startswith("body.") for name in header["layers"])
    assert [header["recipe"][each] for each in ("outside_bits", "headroom", "block")] == [None] * 3


def test_lr_images_are_not_downscaled(dfsq: Callable) -> None:
    assert dfsq(*QUICK, "-o", "hr.safetensors", "--calib", "photos").code == 0
    assert dfsq(*QUICK, "-o", "lr.safetensors", "--calib", "photos", "--calib-is-lr").code == 0
    fingerprints = {read_header(Path(f"{name}.safetensors"))["calibration"]["sha256"] for name in ("hr", "lr")}
    assert len(fingerprints) == 2


def test_unreadable_calibration_images_are_named_and_skipped(dfsq: Callable) -> None:
    Path("photos/broken.png").write_bytes(b"nothing")
    run = dfsq(*QUICK, "--calib", "photos")
    assert run.code == 0
    assert "skipped: photos/broken.png is no readable image" in run.err


def test_reports_in_every_format(dfsq: Callable) -> None:
    names = ["r.json", "r.csv", "r.md", "r.html"]
    run = dfsq("quantize", "model.pth", "--patches", "2", *(option for name in names for option in ("--report", name)))
    assert run.code == 0
    document = json.loads(Path("r.json").read_text())
    full, low = document["models"]
    assert document["quantization"]["recipe"]["w_bits"] == low["w_bits"] == 4
    assert low["sets"][0]["drop"]["psnr_y"] == full["sets"][0]["psnr_y"] - low["sets"][0]["psnr_y"]
    assert len(Path("r.csv").read_text().splitlines()) == 1 + 2 * 2
    assert "| model.pth | FP32 |" in Path("r.md").read_text()
    page = Path("r.html").read_text()
    assert page.count("<img ") == page.count('src="data:image/') == 2 * 6
    assert "http" not in page.replace("http-equiv", "")
    assert "a smoke figure, not a benchmark" in page


def test_sample_photographs_are_declared_as_no_benchmark(dfsq: Callable) -> None:
    run = dfsq("quantize", "model.pth", "--patches", "2")
    assert "a smoke figure, not a benchmark" in run.out
    assert "calibrated on sample photographs" in run.err


def test_an_interrupted_run_leaves_the_old_file(dfsq: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("out.safetensors").write_bytes(b"old")

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("calibration.methods.by_channel.ByChannel.input_quantizer", interrupt)
    run = dfsq(*QUICK, "-o", "out.safetensors")
    assert (run.code, run.err.strip()) == (130, "dfsq: interrupted; no file was left unfinished")
    assert Path("out.safetensors").read_bytes() == b"old"
    assert sorted(path.name for path in Path().iterdir()) == ["benchmark", "model.pth", "out.safetensors", "photos"]


def test_calibration_from_a_single_file(dfsq: Callable) -> None:
    assert dfsq(*QUICK, "--calib", "photos/img0.png").code == 0


def test_quiet_prints_the_result_alone(dfsq: Callable) -> None:
    run = dfsq(*QUICK, "--quiet")
    assert run.err == ""
    assert "4 at W4A4" in run.out
    assert "\x1b" not in run.out


def test_jpeg_and_webp_calibration_images(dfsq: Callable) -> None:
    from PIL import Image

    Path("others").mkdir()
    for suffix in ("jpg", "webp", "bmp", "tif"):
        Image.open("photos/img0.png").save(f"others/img.{suffix}")
    run = dfsq(*QUICK, "--calib", "others", "-q")
    assert (run.code, run.err) == (0, "")


def test_tiny_images_among_good_ones(dfsq: Callable) -> None:
    import numpy as np

    write_png(Path("photos/tiny.png"), np.zeros((9, 9, 3), np.uint8))
    run = dfsq(*QUICK, "--calib", "photos")
    assert run.code == 0
    assert "photos/tiny.png is 9×9, smaller than a 64×64 patch" in run.err


@pytest.mark.parametrize("flags", [(), ("--no-compile",)])
def test_it_says_what_rounds_activations(dfsq: Callable, flags: tuple[str, ...]) -> None:
    assert ("compiled C code" in dfsq(*QUICK, *flags).out) == (not flags)


def test_flags_of_a_checkpoint_are_those_that_were_given() -> None:
    assert checkpoint_flags(None, (), None, None, False) == []  # type: ignore[arg-type] - as `dfsq demo` invokes quantize
    words = checkpoint_flags("EDSR", {"blocks": 2}, 3, 255.0, True)
    assert words == ["--arch", "EDSR", "--arch-arg", "blocks=2", "--scale", "3", "--rgb-range", "255", "--force"]
