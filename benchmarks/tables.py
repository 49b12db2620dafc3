"""Tables in the documentation, between marks that name the module that writes them."""

from __future__ import annotations

import re
from pathlib import Path

import click


def replace(file: Path, name: str, module: str, text: str) -> None:
    """Put ``text`` between the marks of the table ``name`` in ``file``.

    Raises ClickException where it has none.
    """
    start, end = f"<!-- {name}: written by benchmarks/{module}.py -->", f"<!-- end of {name} -->"
    pattern = f"(?s){re.escape(start)}.*{re.escape(end)}"
    replaced, found = re.subn(pattern, lambda _: f"{start}\n{text}\n{end}", file.read_text())
    if not found:
        raise click.ClickException(f"{file} has no table between {start} and {end}")
    file.write_text(replaced)
