"""Makes pages of the site from files outside ``docs/``, and links between them right: a hook of mkdocs."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Files of the root, and what they are called on the site."""
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
_FENCE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: Any) -> Files:
    """Add the pages of the root."""
    for source, page in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=relinked(text, "")))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Change what leads from ``docs/`` to the root."""
    return markdown if page.file.src_uri in PAGES.values() else relinked(markdown, "docs")


def relinked(text: str, folder: str) -> str:
    """``text`` of a file in ``folder`` of the repository, with links as the site has them. Links to what is on no page,
    such as sources, become plain text."""
    parts = _FENCE.split(text)
    return "".join(
        part if part.startswith("```") else _LINK.sub(lambda match: _link(match, folder), part) for part in parts
    )


def _link(match: re.Match[str], folder: str) -> str:
    mark, label, target = match.groups()
    if re.match(r"[a-z]+:|#", target):
        return match[0]
    path, sign, anchor = target.partition("#")
    path = posixpath.normpath(posixpath.join(folder, path))
    if path in PAGES:
        path = PAGES[path]
    elif path.startswith("docs/"):
        path = path.removeprefix("docs/")
    else:
        return label
    return f"{mark}[{label}]({path}{sign}{anchor})"
