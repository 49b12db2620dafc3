"""The state of a run is that of the same run alone, and another is told before any work is done."""

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from calibration import DDTB, PatchStream, Sitting, Trained, set_aside, train
from calibration.ddtb.run import TrainedBounds
from calibration.methods import training_run
from calibration.methods.trained_network import TrainedNetwork
from calibration.training import loop
from dfsq import networks
from dfsq.errors import UsageError
from dfsq.model import SRModel

PICTURES = np.random.default_rng(3).integers(0, 256, (8, 48, 48, 3), dtype=np.uint8)


def stream(pictures: np.ndarray = PICTURES, **options: Any) -> PatchStream:
    return PatchStream(list(pictures), scale=2, **{"patches": 2, "patch_size": 32, **options})


def with_pixel(aside: bool) -> np.ndarray:
    """The pictures but for a pixel, of one that is set aside or of one that is not."""
    rest, _ = set_aside(list(PICTURES), scale=2, patch_size=32)
    kept = {one.tobytes() for one in rest if isinstance(one, np.ndarray)}
    index = next(index for index, each in enumerate(PICTURES) if (each.tobytes() not in kept) == aside)
    changed = PICTURES.copy()
    changed[index, 24, 24] ^= 255
    return changed


def with_info(model: SRModel, **changes: Any) -> SRModel:
    return SRModel(model.net, replace(model.info, **changes), model.body)


def with_other_weights(model: SRModel) -> SRModel:
    state = {name: each.clone() for name, each in model.net.state_dict().items()}
    state["body.0.body.0.bias"][0] += 1
    return networks.from_state(state)


FEW: dict[str, Any] = {"batch": 2, "crop_size": 8}
RECIPE = DDTB(w_bits=2, a_bits=2, steps=10, ratio=0.5, **FEW)


class Broken(BaseException):
    pass


@pytest.fixture
def state(small_model: SRModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a run that broke off in its third step; no other may start."""
    path, loss = tmp_path / "state", TrainedBounds.loss

    def breaking(self: TrainedBounds, step: int, *images: Any) -> torch.Tensor:
        if step == 2:
            raise Broken
        return loss(self, step, *images)

    monkeypatch.setattr(training_run, "dtype_of", lambda precision, device: torch.float32)
    with monkeypatch.context() as patch, pytest.raises(Broken):
        patch.setattr(TrainedBounds, "loss", breaking)
        train(small_model, stream(), RECIPE, Sitting(path))
    assert path.is_file()
    return path


@pytest.mark.parametrize(
    ("part", "changed", "images"),
    [
        ("body", lambda model: SRModel(model.net, model.info, model.body[:2]), stream),
        ("range of values", lambda model: with_info(model, rgb_range=1.0), stream),
        ("network", lambda model: with_info(model, hyperparameters={"residual_scale": 0.1}), stream),
        ("network", lambda model: with_info(model, code={"name": "net.py:Net", "sha256": "0"}), stream),
        ("set of weights", with_other_weights, stream),
        ("calibration set", None, lambda: stream(with_pixel(aside=False))),
        ("calibration set", None, lambda: stream(patches=3)),
        ("choice of images set aside", None, lambda: stream(with_pixel(aside=True))),
    ],
)
def test_another_run_is_refused_before_it_starts(
    small_model: SRModel,
    state: Path,
    monkeypatch: pytest.MonkeyPatch,
    part: str,
    changed: Callable[[SRModel], SRModel] | None,
    images: Callable[[], PatchStream],
) -> None:
    def started(*_: Any) -> Any:
        raise AssertionError("the work has begun")

    monkeypatch.setattr(DDTB, "start", started)
    model = small_model if changed is None else changed(small_model)
    with pytest.raises(UsageError, match=f"is the state of another run: another {part}; start anew"):
        train(model, images(), RECIPE, Sitting(state))
    with pytest.raises(AssertionError, match="the work has begun"):
        train(model, images(), RECIPE, Sitting(state, resume=False))
    assert not state.exists()


def test_another_precision_than_auto_was_is_refused(
    small_model: SRModel, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_run, "dtype_of", lambda precision, device: torch.bfloat16)
    with pytest.raises(UsageError, match="another precision; start anew"):
        train(small_model, stream(), RECIPE, Sitting(state))


def test_the_same_run_from_an_equal_model_goes_on(small_model: SRModel, state: Path) -> None:
    whole = train(small_model, stream(), RECIPE, Sitting())
    again = train(with_info(small_model, source="moved.pth"), stream(), RECIPE, Sitting(state))
    assert all(
        torch.equal(*pair) for pair in zip(whole.state_dict().values(), again.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("recipe", [DDTB(w_bits=2, a_bits=2, **FEW), Trained(w_bits=3, a_bits=3, **FEW)])
def test_a_run_of_minutes_goes_on_with_the_steps_that_it_had(
    small_model: SRModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: DDTB | Trained
) -> None:
    home = TrainedBounds if isinstance(recipe, DDTB) else TrainedNetwork
    path, loss, timed = tmp_path / "state", home.loss, loop.seconds_per_step
    ready: list[float] = []

    def stopped(self: Any, step: int, *images: Any) -> torch.Tensor:
        if step == 2 and ready:
            signal.raise_signal(signal.SIGTERM)
        return loss(self, step, *images)

    def stop(number: int, frame: object) -> None:
        raise Broken

    before = signal.signal(signal.SIGTERM, stop)
    try:
        with monkeypatch.context() as patch, pytest.raises(Broken):
            patch.setattr(home, "loss", stopped)
            patch.setattr(loop, "seconds_per_step", lambda *run: ready.append(timed(*run)) or ready[0])
            train(small_model, stream(), recipe, Sitting(path, minutes=0.02))
    finally:
        signal.signal(signal.SIGTERM, before)
    monkeypatch.setattr(loop, "seconds_per_step", lambda *_: pytest.fail("it is timed again"))
    again = train(small_model, stream(), recipe, Sitting(path, minutes=0.02))
    assert again.quantization is not None
    steps = again.quantization.recipe["steps"]
    assert 10 <= steps < recipe.steps
    whole = train(small_model, stream(), recipe.with_steps(steps), Sitting())
    assert all(
        torch.equal(*pair) for pair in zip(whole.state_dict().values(), again.state_dict().values(), strict=True)
    )
    with pytest.raises(UsageError, match="another recipe; start anew"):
        train(small_model, stream(), recipe, Sitting(path, minutes=0.03))
