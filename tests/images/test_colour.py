"""Luma and chroma against their definition: weights 0.299, 0.587, 0.114, Y in 219 steps, Cb and Cr in 224."""

import torch

from dfsq.images.colour import grey_to_y, rgb_to_ycbcr, y_to_grey, ycbcr_to_rgb

RGB = torch.rand(2, 3, 5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_definition() -> None:
    red, green, blue = RGB.unbind(1)
    grey = 0.299 * red + 0.587 * green + 0.114 * blue
    expected = (16 + 219 * grey, 128 + 112 * (blue - grey) / 0.886, 128 + 112 * (red - grey) / 0.701)
    torch.testing.assert_close(rgb_to_ycbcr(RGB) * 255, torch.stack(expected, 1), atol=1e-3, rtol=0)


def test_known_colours() -> None:
    # As MATLAB's documentation and every table of BT.601 have them: black, white, red, blue.
    colours = torch.tensor([[0.0, 1.0, 1.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 1.0, 0.0, 1.0]]).view(1, 3, 2, 2)
    expected = torch.tensor([[16.0, 235.0, 81.0, 41.0], [128.0, 128.0, 90.0, 240.0], [128.0, 128.0, 240.0, 110.0]])
    assert torch.equal((rgb_to_ycbcr(colours) * 255).round(), expected.view(1, 3, 2, 2))


def test_there_and_back() -> None:
    torch.testing.assert_close(ycbcr_to_rgb(rgb_to_ycbcr(RGB)), RGB)
    torch.testing.assert_close(ycbcr_to_rgb(rgb_to_ycbcr(RGB.float())), RGB.float(), atol=1e-6, rtol=0)
    torch.testing.assert_close(y_to_grey(grey_to_y(RGB)), RGB)


def test_grey_is_the_luma_of_equal_colours() -> None:
    grey = RGB[:, :1]
    luma, *chroma = rgb_to_ycbcr(grey.expand(-1, 3, -1, -1)).split(1, 1)
    torch.testing.assert_close(luma, grey_to_y(grey))
    for each in chroma:
        torch.testing.assert_close(each, torch.full_like(each, 128 / 255))
