from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from calibration.images import Image as Array
from calibration.progress import silent
from calibration.training import crops as module
from calibration.training.crops import Crops
from dfsq import distributed
from dfsq.errors import ImageError
from dfsq.evaluation.bicubic import downscale

SIZE = 12


def images(count: int = 3, side: int = 60) -> list[Array]:
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, (side + index, side, 3), dtype=np.uint8) for index in range(count)]


def crops(sources: list, **changes: object) -> Crops:
    settings = {"scale": 2, "size": SIZE, "batch": 5, "seed": 3, "is_lr": False, "progress": silent, **changes}
    return Crops(sources, **settings)  # type: ignore[arg-type]


def test_a_step_has_the_same_crops_whenever_it_is_taken() -> None:
    some, again = crops(images()), crops(images())
    later = some.of_step(7)
    assert torch.equal(later[0], again.of_step(7)[0])
    assert not torch.equal(later[0], some.of_step(8)[0])
    assert not torch.equal(later[0], crops(images(), seed=4).of_step(7)[0])


def test_lr_crops_are_windows_of_the_downscaled_image_and_hr_crops_lie_over_them() -> None:
    (image,) = images(1)
    whole = torch.from_numpy(downscale(image, 2)).permute(2, 0, 1).float() / 255
    hr_whole = torch.from_numpy(image).permute(2, 0, 1).float() / 255
    orientations = set()
    for step in range(12):
        lr, hr = crops([image]).of_step(step)
        assert hr is not None and lr.shape[1:] == (3, SIZE, SIZE) and hr.shape[1:] == (3, 2 * SIZE, 2 * SIZE)
        for small, large in zip(lr, hr, strict=True):
            found = [
                (turns, mirrored, top, left)
                for turns in range(4)
                for mirrored in (False, True)
                for top in range(whole.shape[1] - SIZE + 1)
                for left in range(whole.shape[2] - SIZE + 1)
                if torch.equal(undone(small, turns, mirrored), whole[:, top : top + SIZE, left : left + SIZE])
            ]
            assert len(found) == 1
            turns, mirrored, top, left = found[0]
            window = hr_whole[:, 2 * top : 2 * (top + SIZE), 2 * left : 2 * (left + SIZE)]
            assert torch.equal(undone(large, turns, mirrored), window)
            orientations.add((turns, mirrored))
    assert len(orientations) == 8


def undone(crop: torch.Tensor, turns: int, mirrored: bool) -> torch.Tensor:
    return torch.rot90(crop.flip(2) if mirrored else crop, -turns, (1, 2))


def test_of_several_candidates_the_one_with_the_strongest_edges_is_taken() -> None:
    flat = np.full((60, 60, 3), 90, np.uint8)
    flat[:, 30:] = 200  # one edge, which few crops of 12×12 LR pixels meet
    shares = []
    for candidates in (1, 4):
        drawn = [crops([flat], candidates=candidates, batch=50).of_step(step)[0] for step in range(4)]
        shares.append(float((torch.cat(drawn).std((1, 2, 3)) > 0.01).float().mean()))
    alone, best = shares
    assert 0 < alone < 0.9
    assert best == pytest.approx(1 - (1 - alone) ** 4, abs=0.1)


def test_one_candidate_is_any_crop() -> None:
    assert torch.equal(crops(images(), candidates=1).of_step(3)[0], crops(images()).of_step(3)[0])
    some, hr = crops(images(), candidates=3).of_step(3)
    assert hr is not None and hr.shape[-1] == 2 * some.shape[-1]
    assert torch.equal(some, crops(images(), candidates=3).of_step(3)[0])


def test_processes_share_the_crops_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    alone, _ = crops(images()).of_step(2)
    parts = []
    for rank in range(2):
        monkeypatch.setattr(distributed, "_group", distributed._Group(rank, 2, None))  # type: ignore[arg-type]
        parts.append(crops(images()).of_step(2)[0])
    assert torch.equal(parts[0], alone[0::2]) and torch.equal(parts[1], alone[1::2])


def test_lr_images_have_no_target() -> None:
    some = crops(images(), is_lr=True)
    assert not some.has_hr and some.of_step(0)[1] is None
    assert crops(images()).has_hr


def test_what_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    Image.fromarray(images(1)[0]).save(tmp_path / "b.png")
    Image.fromarray(images(1, side=20)[0]).save(tmp_path / "c.png")
    told: list[str] = []
    assert len(crops([tmp_path], on_skip=told.append).held) == 1
    assert "a.png" in told[0] and "c.png is 20×20, smaller than 24×24" in told[1]
    with pytest.raises(ImageError, match="none of the 1 images is readable"):
        crops([tmp_path / "a.png"])


@pytest.mark.parametrize(("is_lr", "size"), [(False, 10), (True, 12)])
def test_crops_are_as_large_as_half_of_the_images_allow(is_lr: bool, size: int) -> None:
    told: list[str] = []
    some = crops([*images(2, side=21), *images(1, side=18)], on_skip=told.append, is_lr=is_lr)
    assert some.of_step(0)[0].shape == (5, 3, size, size)
    assert len(some.held) == (3 if is_lr else 2)
    assert told[:1] == ([] if is_lr else ["crops are 10×10 instead of 12×12: half of the images are smaller"])


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    monkeypatch.setattr(module, "SIDE", 30)
    told: list[str] = []
    some = crops(images(5), on_skip=told.append)
    assert [each.hr.shape[:2] for each in some.held if each.hr is not None] == [(30, 30)] * 2
    assert told == ["skipped: all but 2 of 5 images"]
