"""The ranges of the numbers that a user can give. Plain data, so that the command line knows them without torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The least and the largest value, both allowed."""

    least: float
    most: float
    unit: str = ""

    def allow(self, value: float) -> bool:
        """Whether ``value`` is in range; NaN never is."""
        return self.least <= value <= self.most

    def __str__(self) -> str:
        """``2 to 8 bits``."""
        return f"{self.least:.10g} to {self.most:.10g} {self.unit}".rstrip()


BITS = Limits(2, 8, "bits")
WORDS = Limits(1, 5)
"""Words of the universal set: six already give a grid too fine for the lookup tables to stay small."""
RESTARTS = Limits(1, 1000)
HEADROOM = Limits(1, 1000)
BLOCK = Limits(8, 256, "pixels")
"""Side of the squares that maps are cut into; the C code takes 64 pixels or more."""
SHARE = Limits(0, 1)
PATCHES = Limits(1, 20_000, "patches")
"""Where layers wait for one another every two take a thread, of which systems start some 30 000."""
PATCH_SIZE = Limits(1, 8192, "pixels")
"""A larger patch fits into no image that is safe to read."""
IMAGES = Limits(1, 8, "images")
"""To measure layers on: more are not set aside."""
SEED = Limits(0, 2**32 - 1)
"""What every generator of random numbers in use takes."""
SCALE = Limits(1, 16)
RGB_RANGE = Limits(0.01, 65535)
ROWS = Limits(1, 1_000_000, "rows")
"""Of an image that are worked on at a time; more than any has stands for all."""
OVERLAP = Limits(0, 4096, "pixels")
"""Of windows, with their neighbours."""
DROP = Limits(-100, 100, "dB")
TARGET = Limits(0, 100, "dB")
"""A drop that quantization has to stay below."""
TOLERANCE = Limits(0, 100, "dB")
PSNR = Limits(0, 200, "dB")
OPSET = Limits(18, 23)
"""Of ONNX: those that torch writes."""
SIDE = Limits(1, 32768, "pixels")
PASSES = Limits(1, 2, "passes")
STEPS = Limits(1, 10_000_000, "steps")
"""Of training; the published schedules take 60 000 to 300 000."""
MINUTES = Limits(0.01, 100_000, "minutes")
BATCH = Limits(1, 1024)
CANDIDATES = Limits(1, 64)
RATE = Limits(0, 1)
"""Of training: nothing moves by more than its unit in a step."""
LOSS_WEIGHT = Limits(0, 1_000_000)
PERCENT = Limits(51, 100, "percent")
"""Where an upper bound starts; the lower one is as far from the other end."""
