"""What setup.cfg cannot say: the package page, which is the README with links that lead somewhere from there too."""

from __future__ import annotations

import re
from collections.abc import Mapping
from configparser import ConfigParser
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).parent
_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?![a-z]+:|#)([^)\s]+)\)")
_BRANCH = "main"


def package_page(readme: str, addresses: Mapping[str, str]) -> str:
    """``readme`` for where its files are not: links lead to the repository, whose address is that called ``Source``.

    Without one they become their text, and pictures, which no page could show, are left out with their captions.
    """
    source = addresses.get("Source", "").rstrip("/")
    if not source:
        readme = re.sub(
            r"^!\[[^\]]*\]\((?![a-z]+:)[^)]*\)\n\n(\*.*?\*\n\n)?", "", readme, flags=re.MULTILINE | re.DOTALL
        )

    def absolute(match: re.Match[str]) -> str:
        mark, label, path = match.groups()
        if not source:
            return label
        return f"{mark}[{label}]({source}/{'raw' if mark else 'blob'}/{_BRANCH}/{path})"

    return _LINK.sub(absolute, readme)


def addresses() -> Mapping[str, str]:
    """The project's addresses by name, as setup.cfg has them."""
    config = ConfigParser()
    config.read(HERE / "setup.cfg", encoding="utf-8")
    lines = config.get("metadata", "project_urls", fallback="").strip().splitlines()
    return {name.strip(): address.strip() for name, _, address in (line.partition("=") for line in lines)}


if __name__ == "__main__":
    setup(
        long_description=package_page((HERE / "README.md").read_text(encoding="utf-8"), addresses()),
        long_description_content_type="text/markdown",
    )
