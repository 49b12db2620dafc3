"""Plugins: architectures of other packages, under the entry-point group dfsq.networks."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from dfsq.errors import DfsqError
from dfsq.networks import registry
from dfsq.networks.registry import GROUP, architectures, ordered

MODULE = """
from dataclasses import replace
from dfsq.networks.edsr import ARCHITECTURE as EDSR

PLUGIN = replace(EDSR, name="plugged", title="Plugged (nobody 2030)", order=-1)
TWIN = replace(EDSR, title="Twin of EDSR")
LOUD = replace(EDSR, name="Loud")
NOTHING = 3
"""


def distribution(folder: Path, entry: str) -> None:
    """A package that is installed as pip does it, without pip."""
    (folder / "plugin_for_test.py").write_text(MODULE)
    info = folder / "plugin_for_test-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin-for-test\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\nplugged = {entry}\n")


def test_a_plugin_is_found_and_ordered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    distribution(tmp_path, "plugin_for_test:PLUGIN")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = architectures.__wrapped__()  # not those that are cached for all tests
    assert list(found) == ["plugged", *architectures()]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("plugin_for_test:TWIN", r"two networks are called 'edsr': EDSR .*\(dfsq.networks.edsr\) and Twin of EDSR"),
        ("plugin_for_test:LOUD", "the name 'Loud' of EDSR .* must be in lower case"),
        ("plugin_for_test:NOTHING", "plugin_for_test:NOTHING is a int, not an Architecture"),
        ("plugin_for_test:MISSING", "plugin_for_test:MISSING cannot be loaded.*mend or uninstall it"),
        ("no_such_module_at_all:X", "no_such_module_at_all:X cannot be loaded"),
    ],
)
def test_plugins_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: str, message: str) -> None:
    distribution(tmp_path, entry)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(DfsqError, match=message):
        ordered([*architectures().values(), *map(registry._loaded, entry_points(group=GROUP))])


def test_order() -> None:
    edsr = architectures()["edsr"]
    some = [replace(edsr, name="b"), replace(edsr, name="a"), replace(edsr, name="c", order=-1)]
    assert list(ordered(some)) == ["c", "a", "b"]
    for name in ("", "A", "a:b"):
        with pytest.raises(DfsqError, match="lower case, without a colon"):
            ordered([replace(edsr, name=name)])
