"""Every option that takes a number refuses what is none, by name: one line, exit code 2, before anything is loaded."""

from collections.abc import Callable, Iterator

import click
import pytest

from cli.main import group, main
from cli.values import Number
from dfsq.limits import Limits

TEXT = {
    *(
        "--output",
        "--scope",
        "--recipe",
        "--recipes",
        "--selector",
        "--weights",
        "--skip",
        "--calib",
        "--set",
        "--eval",
        "--metrics",
    ),
    *("--data", "--report", "--arch", "--device", "--hr", "--lr", "--json", "--csv", "--md", "--save-images"),
    *("--baseline", "--scratch", "--layer", "--body", "--target", "--reference"),
}
"""Options that take no number. All others are tried; a new one must be put here or refuse what is below."""
FORMS = {"--layer-bits": "body.*={}", "--min-psnr": "Set5={}", "--size": "{}x48"}
ODD = (
    "",
    "abc",
    "nan",
    "NaN",
    "inf",
    "-inf",
    "1e999",
    "²",
    "٣",
    "1_0",
    "0x4",
    "4 bits",
    "-1",
    "0",
    str(10**30),
    "9" * 5000,
)
ALLOWED = {
    *((option, "0") for option in ("--seed", "--float-share", "--max-drop", "--tolerance", "--min-psnr")),
    ("--max-drop", "-1"),
}


def options() -> Iterator[tuple[str, str]]:
    for name, command in group.commands.items():
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.is_flag:
                option = max(parameter.opts, key=len)
                if option not in TEXT:
                    yield name, option


def test_the_table_is_not_empty() -> None:
    found = set(options())
    assert {("quantize", "--avg-bits"), ("compare", "--bits"), ("upscale", "--tile"), ("demo", "--bits")} <= found
    assert {option for command, option in found if command == "eval"} >= {"--max-drop", "--tolerance", "--min-psnr"}


@pytest.mark.parametrize(("command", "option"), list(options()))
def test_odd_values(command: str, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    for value in ODD:
        if (option, value) in ALLOWED:
            continue
        given = FORMS.get(option, "{}").format(value)
        arguments = {"upscale": ["model", ".", "-o", "out"], "demo": []}.get(command, ["model"])
        with pytest.raises(SystemExit) as exit_:
            main([command, *arguments, f"{option}={given}"])
        err = capsys.readouterr().err
        assert (exit_.value.code, err.count("\n")) == (2, 1), (value, err)
        assert option in err, (value, err)
        assert value[:50] in err, (value, err)
        assert "unexpected" not in err


@pytest.mark.parametrize(
    ("kind", "text", "number"),
    [(int, "7", 7), (int, "+7", 7), (int, "-3", -3), (float, "1.5", 1.5), (float, ".5", 0.5), (float, "1e-1", 0.1)],
)
def test_numbers_are_read(kind: type, text: str, number: float) -> None:
    assert Number(kind, Limits(-9, 9)).convert(text, None, None) == number


def test_recipes_and_options_share_their_limits(dfsq: Callable) -> None:
    run = dfsq("quantize", "model.pth", "--bits", "2", "--words", "6")
    assert "'6' is out of range; choose 1 to 5" in run.err
