"""Pages in headless Chromium: what a script finds in them, and what Chromium has to say."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from html import escape, unescape
from pathlib import Path
from typing import Any

import pytest

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
