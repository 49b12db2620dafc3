"""Pages in headless Chromium: what a script finds in them, and what they look like."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_QUIET = ("--disable-gpu", "--disable-quic", "--disable-background-networking", "--no-first-run", "--hide-scrollbars")

_SCRIPT = """
addEventListener("load", () => {
  let found;
  try { found = JSON.stringify((() => {BODY})()); } catch (error) { found = JSON.stringify(String(error)); }
  document.body.replaceChildren(Object.assign(document.createElement("pre"), { id: "found", textContent: found }));
});
"""


def chromium() -> str:
    """Where it is; skips the test where it is not."""
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no chromium; apt-get install chromium")
    return found


def run(page: Path, script: str, folder: Path, width: int = 1280, height: int = 900, dark: bool = False) -> Any:
    """What ``script``, the body of a function, returns in ``page``, as JSON.

    The page's policy lets only its own script run, so it is taken out; a test of its own looks at what it allows.
    """
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text("utf-8"))
    changed_by = _SCRIPT.replace("BODY", script)
    changed = folder / "tried.html"
    changed.write_text(text + f"<script>{changed_by}</script>", "utf-8")
    dom = start(changed, folder, width, height, dark, "--dump-dom")
    match = re.search(r'<pre id="found">(.*)</pre>', dom, re.DOTALL)
    assert match, dom[-500:]
    return json.loads(unescape(match[1]))


def start(page: Path, folder: Path, width: int, height: int, dark: bool, *options: str) -> str:
    """Open ``page`` and return what Chromium prints."""
    profile = folder / "profile"
    shutil.rmtree(profile, ignore_errors=True)
    theme = ("--force-dark-mode", "--blink-settings=preferredColorScheme=0") if dark else ()
    command = (chromium(), "--headless", "--no-sandbox", *_QUIET, f"--user-data-dir={profile}", *theme)
    size = f"--window-size={width},{height}"
    result = subprocess.run((*command, size, *options, page.as_uri()), capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout
