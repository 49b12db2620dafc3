"""docs/own-networks.md does what it says."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dfsq.nn import operands

PAGE = (Path(__file__).parents[2] / "docs" / "own-networks.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def example(dfsq: Callable, monkeypatch: pytest.MonkeyPatch) -> Callable:
    """The command line where net.py and net.pth are."""
    network = blocks("python")[0]
    Path("net.py").write_text(network, encoding="utf-8")
    names: dict[str, type[torch.nn.Module]] = {}
    exec(network, names)
    torch.manual_seed(0)
    net = names["Net"](num_feat=16)
    with torch.no_grad():
        net.get_parameter("up.weight").mul_(0.05)
        net.get_parameter("up.bias").zero_()
    torch.save(net.state_dict(), "net.pth")
    monkeypatch.syspath_prepend(".")
    monkeypatch.delitem(sys.modules, "net", raising=False)
    return dfsq


def test_commands(example: Callable) -> None:
    (lines,) = blocks("sh")
    runs = [example(*shlex.split(line)[1:]) for line in lines.splitlines()]
    assert [run.code for run in runs] == [0] * 4, [run.err for run in runs]
    for run in runs[:2]:
        assert "up (ConvTranspose2d)" in run.out
    assert "net.py:Net (option)" in runs[0].out
    assert "8 at W4A4" in runs[1].out


def test_attention() -> None:
    names: dict[str, type[torch.nn.Module]] = {}
    exec(blocks("python")[1], names)
    attention = names["Attention"](8, 2)
    assert [name for name, _ in operands(attention)] == ["query", "key", "value", "probabilities"]
    shapes = {}
    for name, place in operands(attention):
        place.register_forward_hook(lambda place, _, x, name=name: shapes.update({name: (x.shape, place)}))
    assert attention(torch.rand(3, 16, 8)).shape == (3, 16, 8)
    assert all(shape[place.channel_axis] == place.channels for shape, place in shapes.values())


def test_python(example: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    names: dict[str, object] = {}
    exec(blocks("python")[2], names)
    x = torch.rand(1, 3, 9, 7)
    with torch.inference_mode():
        assert torch.equal(names["again"](x), names["quantized"](x))  # type: ignore[operator]
    monkeypatch.delitem(sys.modules, "net", raising=False)
