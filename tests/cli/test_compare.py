import json
from collections.abc import Callable
from pathlib import Path

import pytest

ARGUMENTS = (
    "compare",
    "model.pth",
    "--data",
    "benchmark",
    "--set",
    "Set5,Set14",
    "--patches",
    "2",
    "--calib",
    "photos",
)


def test_a_row_per_recipe_and_bits_with_the_best_marked(dfsq: Callable) -> None:
    run = dfsq(*ARGUMENTS, "--recipes", "fast,paper", "--bits", "4,2")
    assert run.code == 0
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in run.out.splitlines() if line.startswith("│")]
    assert [row[:2] for row in cells] == [
        ["model.pth", "FP32"],
        ["fast W4A4", "W4A4"],
        ["paper W4A4", "W4A4"],
        ["fast W2A2", "W2A2"],
        ["paper W2A2", "W2A2"],
    ]
    operations = [float(row[-2].removesuffix(" %")) for row in cells[1:]]
    assert 0 < operations[2] < operations[0] < 100
    for rivals in (cells[1:3], cells[3:5]):
        for column in (2, 3):
            drops = {row[0]: float(row[column].removesuffix(" *")) for row in rivals}
            marked = [row[0] for row in rivals if row[column].endswith("*")]
            assert marked == [min(drops, key=lambda name: drops[name])]


def test_lr_images_are_told_from_hr_ones(dfsq: Callable) -> None:
    Path("mine.yaml").write_text("method: trained\nobjective: target\nsteps: 1\n")
    run = dfsq(*ARGUMENTS, "--recipes", "mine.yaml", "--bits", "4", "--calib-is-lr")
    assert run.code == 2
    assert "needs HR images, and these are LR (--calib-is-lr)" in run.err


def test_a_shown_recipe_that_was_changed_is_called_as_its_file(dfsq: Callable) -> None:
    Path("my.yaml").write_text(dfsq("recipes", "show", "fast").out.replace("words: 4", "words: 3"))
    document = json.loads(dfsq(*ARGUMENTS, "--recipes", "fast,my.yaml", "--json").out)
    assert [each["name"] for each in document["models"]] == ["model.pth", "fast W4A4", "my W4A4"]
    assert [each["words"] for each in document["recipes"]] == [4, 3]


def test_json_is_reproducible_but_for_the_time(dfsq: Callable) -> None:
    documents = [json.loads(dfsq(*ARGUMENTS, "--recipes", "fast", "--json").out) for _ in range(2)]
    for document in documents:
        assert document.pop("seconds").keys() == {"fast W4A4"}
    assert documents[0] == documents[1]
    assert documents[0]["recipes"][0]["patches"] == 2
    low = documents[0]["models"][1]
    assert low["bytes"] == sum(low["artifact"]["parts"].values()) > 0
    assert low["artifact"]["recipe"] == documents[0]["recipes"][0]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--bits", "four"), "'four' is no whole number; choose 2 to 8 bits"),
        (("--bits", "9"), "choose 2 to 8 bits"),
        (("--recipes", "a/my.yaml,b/my.yaml"), "two recipes are called 'my'"),
        (("--recipes", ","), "--recipes names none"),
        (("--recipes", "best"), "known: accurate, ddtb, fast, "),
        (("--recipes", "best.yaml"), "cannot read the recipe"),
    ],
)
def test_refusals(dfsq: Callable, arguments: tuple[str, ...], message: str) -> None:
    for folder in ("a", "b"):
        Path(folder).mkdir()
        Path(folder, "my.yaml").write_text("patches: 1\n")
    run = dfsq(*ARGUMENTS, *arguments, "-q")
    assert run.code == 2
    assert message in run.err
    assert run.err.count("\n") == 1
