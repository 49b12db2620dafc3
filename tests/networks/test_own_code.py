"""Code of the user's own by its name: FILE.py:NAME and PACKAGE.MODULE:NAME, and what goes wrong with it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import dfsq
from dfsq.errors import UsageError

FILE = """
from torch import nn
class Net(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.head, self.inner, self.last = (
            nn.Conv2d(3, features, 1), nn.Conv2d(features, features, 1), nn.Conv2d(features, 3, 1)
        )
    def forward(self, x):
        return self.last(self.inner(self.head(x)))
def number(): return 3
made = Net(4)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with net.py and a checkpoint of its network with four features."""
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(FILE)
    namespace: dict[str, Any] = {}
    exec(FILE, namespace)
    torch.save(namespace["Net"](4).state_dict(), "net.pth")
    return tmp_path


def load(arch: Any, **arguments: Any) -> dfsq.SRModel:
    return dfsq.load("net.pth", arch=arch, arch_args=arguments, check=False)


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("net.py", "is not of the form FILE.py:NAME"),
        ("C:\\nets\\net.py", "is not of the form FILE.py:NAME"),
        (":Net", "is not of the form FILE.py:NAME"),
        ("net.py:", "is not of the form FILE.py:NAME"),
        ("C:\\nets\\net.py:Net", "net.py is no file"),
        ("missing.py:Net", "missing.py is no file"),
        ("net.py:Nat", "net.py:Nat: Nat is no class or function there; net.py has Net, number"),
        ("net.py:Net.inner.weight", "is no class or function there"),
        ("net.py:made", "made is a network already, not what makes one"),
        ("net.py:number", "net.py:number makes a int, not a torch.nn.Module"),
        ("net.py:Net", r"net.py:Net\(\) fails: TypeError: .*'features'; give its arguments as `arch_args`"),
        ("no_such_module:Net", "no_such_module cannot be imported: ModuleNotFoundError.*net.py:Net"),
        ("..net:Net", "cannot be imported"),
        ("edsr.py:Net", "edsr.py is no file"),
        (nn.Conv2d(3, 3, 1), "`arch` is a Conv2d; give what makes the network"),
        (7, "`arch` is a int"),
    ],
)
def test_names_that_make_nothing(folder: Path, arch: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        load(arch)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("def f(:", "net.py cannot be run: SyntaxError: invalid syntax .net.py, line 1."),
        ("import no_such_thing", "net.py cannot be run: ModuleNotFoundError"),
        ("from .blocks import x", "net.py cannot be run: ImportError: .*PACKAGE.MODULE:NAME"),
        ("1 / 0", "ZeroDivisionError"),
        ("import sys; sys.exit(0)", "it ends the program; .*__main__"),
        ("raise SystemExit", "it ends the program"),
        ("raise ValueError('two\\nlines')", "ValueError: two;"),
        ("\0", "net.py cannot be run"),
        ("Net = 3", "Net is no class or function there; net.py has none"),
        ("def Net(features): raise SystemExit(2)", "it ends the program"),
    ],
)
def test_files_that_fail(folder: Path, content: str, message: str) -> None:
    Path("net.py").write_text(content)
    with pytest.raises(UsageError, match=message) as caught:
        load("net.py:Net", features=4)
    assert "\n" not in str(caught.value)


def test_an_interrupt_is_left_alone(folder: Path) -> None:
    Path("net.py").write_text("raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        load("net.py:Net")


def test_ways_to_name_the_same_code(folder: Path) -> None:
    path = list(sys.path)
    Path("package").mkdir()
    Path("package/__init__.py").write_text("")
    Path("package/blocks.py").write_text("from torch import nn\n")
    Path("package/own.py").write_text("from .blocks import nn\n" + FILE + "\ndef four(): return Net(4)\n")
    (folder / "odd:name").mkdir()
    Path("odd:name/net.PY").write_text(FILE)
    for arch in ("net.py:Net", "./net.py:Net", f"{folder}/net.py:Net", "odd:name/net.PY:Net", "package.own:Net"):
        assert load(arch, features=4).info.architecture.endswith(":Net")
    assert load("package.own:four").scale == 1
    assert sys.path == path


@pytest.mark.parametrize("value", [float("nan"), torch.relu, torch.zeros(1), {1, 2}])
def test_arguments_that_an_artifact_cannot_hold(folder: Path, value: Any) -> None:
    with pytest.raises(UsageError, match="`arch_args` are stored as JSON"):
        load("net.py:Net", features=value)
