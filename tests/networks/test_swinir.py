"""SwinIR against spandrel's, which is written after that of its authors."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
import torch
from torch import nn

from dfsq.errors import CheckpointError
from dfsq.networks import from_state
from dfsq.networks.windows import merged_windows, shift_mask, windows_of

pytestmark = pytest.mark.filterwarnings("ignore:torch.meshgrid")
SPANDREL_SWINIR = {
    "upscale": 2,
    "img_size": 16,
    "window_size": 4,
    "depths": [2, 3],
    "embed_dim": 12,
    "num_heads": [2, 3],
}
SPANDREL_SWINIR |= {"mlp_ratio": 2, "upsampler": "pixelshuffledirect", "resi_connection": "1conv"}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"upsampler": "pixelshuffle", "upscale": 3},
        {"upsampler": "pixelshuffle", "upscale": 4, "resi_connection": "3conv"},
        {"upsampler": "nearest+conv", "upscale": 2},
        {"upsampler": "nearest+conv", "upscale": 4},
        {"upsampler": "", "upscale": 1},
        {"qkv_bias": False, "patch_norm": False},
        {"window_size": 16},  # as large as the images of training: no window is shifted
        {"window_size": 7, "img_size": 21},
    ],
)
def test_swinir_computes_what_spandrel_computes(spandrel: Any, changes: dict[str, Any]) -> None:
    arguments = {**SPANDREL_SWINIR, **changes}
    net = import_module("spandrel.architectures.SwinIR").SwinIR(**arguments).eval()
    for parameter in net.parameters():
        nn.init.normal_(parameter, 0, 0.1)
    model = from_state(net.state_dict())
    assert model.info.architecture == "swinir"
    window = arguments["window_size"]
    for height, width in ((window, window), (window, 3 * window), (4 * window, 2 * window)):
        images = torch.rand(2, 3, height, width)
        with torch.no_grad():
            torch.testing.assert_close(model(images), net(images), rtol=1e-5, atol=1e-5)


def test_swinir_with_other_positions_is_refused(spandrel: Any) -> None:
    state = import_module("spandrel.architectures.SwinIR").SwinIR(**SPANDREL_SWINIR).state_dict()
    name = "layers.1.residual_group.blocks.0.attn.relative_position_index"
    state[name] = state[name].flip(0)
    with pytest.raises(
        CheckpointError, match="relative_position_index of this SwinIR checkpoint is not that of square"
    ):
        from_state(state)


def test_windows_are_cut_and_put_together() -> None:
    x = torch.arange(2 * 4 * 6 * 3).view(2, 4, 6, 3)
    windows = windows_of(x, 2)
    assert windows.shape == (2 * 2 * 3, 4, 3)
    assert torch.equal(windows[4], x[0, 2:4, 2:4].reshape(4, 3))
    assert torch.equal(merged_windows(windows, x, 2), x)


def test_only_tokens_that_were_neighbours_before_the_shift_see_each_other() -> None:
    mask = shift_mask(torch.zeros(1, 8, 8, 1), 4)
    rolled = torch.roll(torch.arange(64).view(1, 8, 8, 1), (-2, -2), (1, 2))
    for tokens, own in zip(windows_of(rolled, 4)[..., 0], mask, strict=True):
        rows, columns = tokens // 8, tokens % 8
        apart = [(each[:, None] - each).abs() > 3 for each in (rows, columns)]
        assert torch.equal(own != 0, apart[0] | apart[1])
