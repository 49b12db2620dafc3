"""One channel, in the range 0–255, with maps that are viewed in torch's default layout."""

import torch
from torch import nn
from torch.nn import functional as F


def shuffled(x, groups):
    """Channels of several groups, taken in turns."""
    b, c, h, w = x.shape
    return x.view(b, groups, c // groups, h, w).transpose(1, 2).reshape(b, c, h, w)


class Block(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.one = nn.Conv2d(features, features, 3, padding=1, groups=2)
        self.two = nn.Conv2d(features, features, 3, padding=1)

    def forward(self, x):
        y = self.two(shuffled(F.leaky_relu(self.one(x), 0.1), 2))
        brightest = y.view(y.shape[0] * y.shape[1], -1).amax(1).view(*y.shape[:2], 1, 1)
        return x + 0.1 * y / (1 + brightest.abs())


class Net(nn.Module):
    def __init__(self, features=8):
        super().__init__()
        self.head = nn.Conv2d(1, features, 5, padding=2, padding_mode="reflect")
        self.blocks = nn.ModuleList([Block(features) for _ in range(2)])
        self.up = nn.Sequential(nn.Conv2d(features, 4, 3, padding=1), nn.PixelShuffle(2))
        with torch.no_grad():
            self.up[0].weight.mul_(0.1)
            self.up[0].bias.zero_()

    def forward(self, y):
        x = self.head(y / 255)
        for block in self.blocks:
            x = block(x)
        return 255 * (self.up(x) + F.interpolate(y / 255, scale_factor=2))
