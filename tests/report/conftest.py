"""A run with findings of every kind, the page made of it, and headless Chromium that tries pages."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from html import escape, unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dfsq.evaluation.results import ImageResult, Scores, SetResult
from dfsq.report import gates
from dfsq.report.compared import Compared
from dfsq.report.findings import Findings
from dfsq.report.html import to_html
from dfsq.report.json_report import to_json
from dfsq.report.report import ModelReport, Report
from dfsq.report.sections import sections
from dfsq.report.signals import Histogram, Inputs, Signals

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_QUIET = ("--disable-gpu", "--disable-quic", "--disable-background-networking", "--no-first-run", "--hide-scrollbars")
_FRAME = """<!doctype html><meta charset=utf-8><style>
:root, iframe { color-scheme: light dark; } body { margin: 0; } iframe { border: 0; }
</style><iframe width="WIDTH" height="HEIGHT" srcdoc="PAGE"></iframe>
"""
"""A window that may be narrower than Chromium's own."""
_SCRIPT = """
addEventListener("load", () => {
  let found;
  try { found = JSON.stringify((() => {BODY})()); } catch (error) { found = JSON.stringify(String(error)); }
  const outside = parent.document;
  outside.body.replaceChildren(Object.assign(outside.createElement("pre"), { id: "found", textContent: found }));
});
"""
_LAYERS = {
    name: {"shape": [8, 8, 3, 3], "w_bits": bits, "a_bits": bits}
    for name, bits in (("b.10", 4), ("b.2", 3), ("b.1", 8))
}
_ARTIFACT = {
    "layers": _LAYERS,
    "parts": {"codes": 600, "points and ranges": 300, "shares": 0, "other": 100},
    "recipe": {"name": "accurate", "w_bits": 4},
    "calibration": {"patches": 32, "patch": [96, 96]},
    "source": {"file": "full.pth", "sha256": "ab" * 32},
    "versions": {"dfsq": "0.1.0"},
}
_INPUTS = Inputs(Histogram((0.0, 0.5, 1.0), (100, 3), (2, 1), (0.0, 0.25, 1.0), "of the input"), 4, 7)
_DROPS = {"zebra": 0.02, "comet": 0.5, "lenna": -0.01, "baby10": 0.1, "baby9": 0.1}


def _scored(name: str, drops: dict[str, float], **about: Any) -> ModelReport:
    images = tuple(
        ImageResult(image, Scores(30 + index - drop, 0.9, 28, 0.8)) for index, (image, drop) in enumerate(drops.items())
    )
    return ModelReport(name, "edsr", 2, (SetResult("Set5", 2, True, images),), **about)


def _picture(height: int = 64, width: int = 96, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def _compared(name: str, drop: float, height: int = 64, width: int = 96) -> Compared:
    hr, first = _picture(height, width), _picture(height, width, 1)
    scores = Scores(30, 0.9, 28, 0.8), Scores(30 - drop, 0.9, 28, 0.8)
    return Compared("Set5", name, hr, first, first ^ 1, scores)


def _findings(**changes: Any) -> Findings:
    full = _scored("full.pth", dict.fromkeys(_DROPS, 0.0), size=4000)
    low = _scored("low.safetensors", _DROPS, size=1000, w_bits=4, a_bits=4, artifact=_ARTIFACT)
    report = Report((full, low), {"seconds": 12.3})
    usual: dict[str, Any] = {
        "report": report,
        "title": "full.pth at W4A4",
        "facts": {"recipe": "accurate"},
        "checks": gates.max_drop(report, 0.1),
        "compared": [_compared("comet", 0.5), _compared("zebra", 0.02)],
        "names": ("full.pth", "low.safetensors"),
        "signals": Signals("Set5: comet", {"b.2": 0.01, "b.10": 0.25}, {"b.10": _INPUTS}),
        "command": "dfsq quantize full.pth --eval Set5",
        "checksums": {"full.pth": "cd" * 32},
        "versions": {"torch": "2.13"},
    }
    return Findings(**{**usual, **changes})


def _rendered(found: Findings) -> str:
    return to_html(sections(found), found.title, to_json(found.report, found.checks))


class _Elements(HTMLParser):
    """All start tags with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {key: value or "" for key, value in attrs}))


def _chromium() -> str:
    """Where it is; skips the test where it is not."""
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no chromium; apt-get install chromium")
    return found


def _run(folder: Path, page: str, script: str, *, width: int = 1280, height: int = 900, dark: bool = False) -> Any:
    """What ``script``, the body of a function, returns in ``page``, as JSON.

    The page's policy lets only its own script run, so it is taken out; a test of its own looks at what it allows.
    """
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    text += f"<script>{_SCRIPT.replace('BODY', script)}</script>"
    framed = _FRAME.replace("WIDTH", str(width)).replace("HEIGHT", str(height)).replace("PAGE", escape(text))
    dom = _opened(folder, framed, "--dump-dom", *(("--blink-settings=preferredColorScheme=0",) if dark else ())).stdout
    match = re.search(r'<pre id="found">(.*)</pre>', dom, re.DOTALL)
    assert match, dom[-500:]
    return json.loads(unescape(match[1]))


def _opened(folder: Path, page: str, *options: str) -> subprocess.CompletedProcess[str]:
    """What Chromium says of ``page`` with command-line ``options``."""
    file, profile = folder / "tried.html", folder / "profile"
    file.write_text(page, "utf-8")
    shutil.rmtree(profile, ignore_errors=True)
    command = (
        _chromium(),
        "--headless",
        "--no-sandbox",
        *_QUIET,
        f"--user-data-dir={profile}",
        *options,
        file.as_uri(),
    )
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    return result


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Any]:
    """``run(page, script)``: what a script finds in a page."""
    return partial(_run, tmp_path)


@pytest.fixture
def opened(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """``opened(page, *options)``: what Chromium says of a page."""
    return partial(_opened, tmp_path)


@pytest.fixture
def drops() -> dict[str, float]:
    """What the images of the quantized model of ``findings`` lose, in dB."""
    return dict(_DROPS)


@pytest.fixture
def scored() -> Callable[..., ModelReport]:
    """``scored(name, drops, **about)``: a model whose images lose ``drops`` against 30, 31, 32 … dB."""
    return _scored


@pytest.fixture
def picture() -> Callable[..., np.ndarray[Any, Any]]:
    """``picture(height, width, seed)``: noise, uint8 RGB."""
    return _picture


@pytest.fixture
def compared() -> Callable[..., Compared]:
    """``compared(name, drop, height, width)``: noise as two models upscale it."""
    return _compared


@pytest.fixture
def findings() -> Callable[..., Findings]:
    """``findings(**changes)``: of a run that has something for every section, but for ``changes``."""
    return _findings


@pytest.fixture
def rendered() -> Callable[[Findings], str]:
    """``rendered(findings)``: the page made of them, with its JSON."""
    return _rendered


@pytest.fixture(scope="session")
def page() -> str:
    """The page of ``findings()``."""
    return _rendered(_findings())


@pytest.fixture
def elements() -> Callable[[str], list[tuple[str, dict[str, str]]]]:
    """``elements(page)``: all its start tags with their attributes."""
    return lambda page: _Elements(page).found
