"""Each case imports a small torchvision of its own, in a process of its own: operators are defined once per process."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

IMPORT = """
import torch
from dfsq.networks.torchvision_operators import import_module
try:
    import_module("spandrel")
    print("imported")
except Exception as error:
    print(type(error).__name__, error)
names = {str(schema).partition("(")[0] for schema in torch._C._jit_get_all_schemas()}
print(*sorted(name for name in names if name.startswith("torchvision::")))
"""


def run(code: str, *first_on_path: Path) -> list[str]:
    begin = f"import sys; sys.path[:0] = {[str(path) for path in first_on_path]}\n"
    done = subprocess.run([sys.executable, "-c", begin + code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


FINE = "class models: pass"
BROKEN = """
from torch.library import register_fake
for name in ("nms", "qnms", "roi_align", "box_iou_rotated"):
    register_fake(f"torchvision::{name}")(lambda *arguments: None)
"""
OTHER_REASON = "raise RuntimeError('PyTorch and torchvision were compiled with different CUDA major versions')"
OTHER_NAMESPACE = "import torch; torch.library.register_fake('elsewhere::nms')(lambda: None)"
ENDLESS = "import time; raise RuntimeError(f'operator torchvision::op{time.time_ns()} does not exist')"
CASES = {
    "fine": (FINE, "imported", 0),
    "broken": (BROKEN, "imported", 4),
    "another reason": (OTHER_REASON, "RuntimeError PyTorch and torchvision were compiled with different CUDA", 0),
    "another namespace": (OTHER_NAMESPACE, "RuntimeError operator elsewhere::nms does not exist", 0),
    "endless": (ENDLESS, "RuntimeError operator torchvision::op", 50),
}


@pytest.mark.parametrize("case", CASES)
def test_defines_what_is_missing_and_nothing_else(case: str, tmp_path: Path) -> None:
    code, outcome, operators = CASES[case]
    (tmp_path / "torchvision.py").write_text(code)
    (tmp_path / "spandrel.py").write_text("import torchvision")
    printed, defined = run(IMPORT, tmp_path)
    assert printed.startswith(outcome)
    assert len(defined.split()) == operators


@pytest.mark.skipif(not find_spec("spandrel"), reason="spandrel is not installed; pip install 'dfsq[zoo]'")
def test_the_installed_spandrel_is_imported_without_help() -> None:
    code = """
import gc
from dfsq.networks import architectures
architectures()
assert not {"spandrel", "torchvision"} & sys.modules.keys()
from dfsq.networks.torchvision_operators import import_module
spandrel = import_module("spandrel")
gc.collect()
from torchvision.ops import boxes
assert import_module("spandrel") is spandrel
print(len(spandrel.MAIN_REGISTRY) > 30)
"""
    assert run(code) == ["True"]
