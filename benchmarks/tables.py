"""Tables in the documentation, between marks that name the module that writes them."""

from __future__ import annotations

import re
from pathlib import Path


def replace(file: Path, name: str, module: str, text: str) -> None:
    """Put ``text`` between the marks of the table ``name`` in ``file``."""
    start, end = f"<!-- {name}: written by benchmarks/{module}.py -->", f"<!-- end of {name} -->"
    pattern = f"(?s){re.escape(start)}.*{re.escape(end)}"
    file.write_text(re.sub(pattern, lambda _: f"{start}\n{text}\n{end}", file.read_text()))
