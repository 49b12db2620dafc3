"""The manual: what it says of the project is so, and what it links to is there."""

from __future__ import annotations

import ast
import re
import runpy
from collections.abc import Iterator
from configparser import ConfigParser
from importlib import import_module
from pathlib import Path

import pytest
import yaml

import calibration
import dfsq
from benchmarks import accuracy, analysis, deployment, large, networks, performance, training
from dfsq.version import __version__

ROOT = Path(__file__).parents[1]
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *DOCS]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SETUP = runpy.run_path(str(ROOT / "setup.py"), run_name="page")
NAMES = [str(each.relative_to(ROOT)) for each in PAGES]


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def outside_code(text: str) -> str:
    return re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)


def links(text: str) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", outside_code(text))


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", outside_code(page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}


def table(text: str, after: str = "") -> list[list[str]]:
    """The cells of the first table in ``text`` that comes ``after`` something."""
    lines = text[text.index(after) :].splitlines()
    first = next(index for index, line in enumerate(lines) if line.startswith("|"))
    rows = []
    for line in lines[first:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return [rows[0], *rows[2:]]


def test_readme_is_short() -> None:
    assert len(README.split()) <= 900  # of all, code and table included
    assert len(re.findall(r"^\|[-:|]+\|$", README, re.MULTILINE)) == 1


def test_figures_of_the_readme_are_those_of_the_docs() -> None:
    _, *rows = table(README)
    fake, integers = {}, {}
    name = ""
    for row in table(text_of("docs/accuracy.md"), "<!-- networks:")[1:]:
        name = row[0] or name
        if row[1] == "W4A4":
            fake[name] = (f"{row[3]} dB", row[6])
    for row in table(text_of("docs/deployment.md"), "<!-- deployment:")[1:]:
        name = row[0] or name
        if row[1] == "dfsq int8, OpenVINO":
            integers[name] = (f"−{row[2]} dB", row[4], f"{float(row[5]):.1f} ×")
    assert len(rows) >= 4
    for name, *cells in rows:
        assert tuple(cells) == (*fake[name], *integers[name]), name


@pytest.mark.parametrize("page", NAMES)
def test_links_lead_somewhere(page: str) -> None:
    for link in links(text_of(page)):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_in_the_readme_or_one_step_from_it_and_on_the_site() -> None:
    near = {link.partition("#")[0] for link in links(README)}
    near |= {f"docs/{link.partition('#')[0]}" for page in near if page.endswith(".md") for link in links(text_of(page))}
    pages = {str(each.relative_to(ROOT)) for each in DOCS} - {"docs/api.md"}  # which only the site can show
    assert pages <= near
    site = text_of("mkdocs.yml")
    assert all(f" {each.name}\n" in site for each in DOCS)


def packages() -> Iterator[Path]:
    for top in ("dfsq", "calibration", "cli"):
        for init in (ROOT / top).rglob("__init__.py"):
            yield init.parent


def test_rooms() -> None:
    named = {ROOT / name for name in re.findall(r"^\| `([\w/]+)/` \|", text_of("docs/architecture.md"), re.MULTILINE)}
    assert all(each.is_dir() for each in named)
    assert set(packages()) <= named
    paths = re.findall(r"`((?:dfsq|calibration|cli)/[\w/]+\.py)`", text_of("docs/architecture.md"))
    paths += re.findall(r"^ +│? +((?:dfsq|calibration)/\w+) ", text_of("docs/architecture.md"), re.MULTILINE)
    assert len(paths) > 10
    for path in paths:
        assert (ROOT / path).exists() or (ROOT / f"{path}.py").exists(), path


def test_packages_come_with_all_that_is_no_python() -> None:
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    packed = {
        file
        for package, patterns in setup["options.package_data"].items()
        for pattern in patterns.split()
        for file in ROOT.joinpath(*package.split(".")).glob(pattern)
    }
    there = {
        file
        for top in ("dfsq", "calibration", "cli")
        for file in (ROOT / top).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    missing = {file for file in there - packed if file.suffix != ".py"}
    assert not missing


@pytest.mark.parametrize(("package", "barred"), [("dfsq", {"calibration", "cli"}), ("calibration", {"cli"})])
def test_imports_go_one_way(package: str, barred: set[str]) -> None:
    files = [*(ROOT / package).rglob("*.py")]
    assert len(files) > 20
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            found = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            found += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            wrong = {name for name in found if name.partition(".")[0] in barred}
            # The command line is started from here: that is what `python -m dfsq` is for.
            assert not wrong or file == ROOT / "dfsq" / "__main__.py", f"{file}: {wrong}"


def test_reference_names_what_there_is() -> None:
    named = re.findall(r"^::: (\S+)$", text_of("docs/api.md"), re.MULTILINE)
    assert len(set(named)) == len(named)
    for name in named:
        module, _, attribute = name.rpartition(".")
        assert hasattr(import_module(module), attribute), name
    public = {f"dfsq.{name}" for name in dfsq.__all__ if name != "__version__"}
    public |= {f"calibration.{name}" for name in calibration.__all__ if name != "set_aside"}
    assert public <= set(named)


@pytest.mark.parametrize("module", [accuracy, analysis, deployment, large, networks, performance, training])
def test_benchmarks_know_where_their_tables_are(module: object) -> None:
    name = str(module.__name__).rpartition(".")[2]
    pages = [page for page in NAMES if f"written by benchmarks/{name}.py -->" in text_of(page)]
    if name == "training":  # accuracy.py puts these into the file
        assert not pages
        return
    (page,) = pages
    assert f"--update {page}" in str(module.__doc__)
    assert text_of(page).count("<!-- end of ") == text_of(page).count("written by benchmarks/")


def test_extras_are_weighed() -> None:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    rows = table(text_of("docs/installing.md"), "## What it weighs")
    assert [row[0].strip("`") for row in rows[1:]] == ["none", *sorted_as(rows, config["options.extras_require"])]
    assert all(re.fullmatch(r"\d+ MB", cell) for row in rows[1:] for cell in row[-2:])


def sorted_as(rows: list[list[str]], extras: object) -> list[str]:
    """The names of ``extras``, in the order of ``rows``."""
    order = [row[0].strip("`") for row in rows]
    return sorted(extras, key=lambda name: order.index(name) if name in order else -1)  # type: ignore[call-overload]


def test_package_page_with_an_address() -> None:
    page = SETUP["package_page"](README, {"Source": "https://example.org/dfsq/"})
    assert all(link.startswith("https://") for link in links(page))
    assert "](https://example.org/dfsq/blob/main/docs/method.md)" in page
    assert "](https://example.org/dfsq/raw/main/docs/w4a4.png)" in page


def test_package_page_without_one() -> None:
    page = SETUP["package_page"](README, {})
    assert links(page) and all(link.startswith("https://") for link in links(page))
    assert "docs/method.md" in page and "w4a4.png" not in page and "vultilion" not in page


def test_addresses() -> None:
    found = SETUP["addresses"]()
    assert found and all(each.startswith("https://") for each in found.values())
    assert not any("," in name for name in found)  # the package's metadata divide name from address by one


def test_citation() -> None:
    document = yaml.safe_load(text_of("CITATION.cff"))
    assert document["version"] == __version__
    cited = {each["identifiers"][0]["value"].removeprefix("arXiv:") for each in document["references"]}
    assert cited == {"2305.05888", "2203.03844"}
    for each in document["references"]:
        (number,) = [each["identifiers"][0]["value"].removeprefix("arXiv:")]
        assert each["url"] == f"https://arxiv.org/abs/{number}"
        assert each["authors"][0] == {"family-names": "Zhong", "given-names": "Yunshan"}
        assert each["authors"][-1] == {"family-names": "Ji", "given-names": "Rongrong"}
        assert f"arXiv {number}" in text_of("docs/method.md")
