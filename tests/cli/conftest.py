from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from cli.main import main
from dfsq.evaluation.samples import calibration_images
from dfsq.images.files import write_png
from dfsq.model import SRModel
from dfsq.quantizers import fused, native


@dataclass(frozen=True)
class Run:
    """What a command left behind."""

    code: int
    out: str
    err: str


@pytest.fixture
def dfsq(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], plausible_model: SRModel
) -> Callable[..., Run]:
    """Run the command line in a folder that holds model.pth, photos/ and benchmark/ with Set5 and Set14."""
    monkeypatch.chdir(tmp_path)
    for module, name in ((native, "library"), (fused, "ready")):
        monkeypatch.setattr(module, name, getattr(module, name))  # commands set them for the whole process
    for variable in ("GITHUB_STEP_SUMMARY", "DFSQ_DATA"):
        monkeypatch.delenv(variable, raising=False)
    torch.save({"params": plausible_model.net.state_dict()}, "model.pth")
    for index, image in enumerate(calibration_images()):
        for folder, crop in (
            ("photos", image[:224]),
            ("benchmark/Set5/HR", image[230:290, :80]),
            ("benchmark/Set14", image[300:360, :64]),
        ):
            Path(folder).mkdir(parents=True, exist_ok=True)
            write_png(Path(folder) / f"img{index}.png", np.ascontiguousarray(crop))

    def run(*arguments: str) -> Run:
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main([str(argument) for argument in arguments])
        sys.stdout.flush()
        captured = capsys.readouterr()
        return Run(int(exit_.value.code or 0), captured.out, captured.err)

    return run
