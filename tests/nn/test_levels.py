"""What an input quantizer says that it rounds to is what comes out of it."""

import pytest
import torch
from torch import Tensor

from dfsq.nn import AffineQuantizer, BoundsQuantizer, InputQuantizer, SubsetQuantizer
from dfsq.quantizers.universal import UniversalSet

UNIVERSAL = UniversalSet()


def points(rows: int, count: int = 8) -> Tensor:
    numerators = torch.tensor(sorted(UNIVERSAL.numerators.tolist()), dtype=torch.int32)
    return torch.stack([numerators[torch.randperm(len(numerators))[:count].sort().values] for _ in range(rows)])


def kinds() -> dict[str, InputQuantizer]:
    torch.manual_seed(0)
    fixed = torch.stack([torch.randn(5), torch.rand(5) + 0.5])
    return {
        "signed": SubsetQuantizer(points(5), True, 3, UNIVERSAL, 1),
        "with a limit": SubsetQuantizer(points(5), True, 3, UNIVERSAL, 1, limit=torch.full((5,), 0.7)),
        "in blocks": SubsetQuantizer(points(5), True, 3, UNIVERSAL, 1, block=16),  # one of them
        "non-negative": SubsetQuantizer(points(5).abs().sort(1).values, False, 3, UNIVERSAL, 1),
        "fixed": SubsetQuantizer(points(5), True, 3, UNIVERSAL, 1, fixed=fixed),
        "of the tensor": SubsetQuantizer(points(1), True, 3, UNIVERSAL, 1, fixed=torch.tensor([0.1, 2.0])),
        "affine": AffineQuantizer(0.3, 5, 4),
        "equalized": AffineQuantizer(0.3, 0, 4, torch.rand(5) + 0.5),
        "bounds": BoundsQuantizer(-0.8, 1.7, 2),
    }


@pytest.mark.parametrize("kind", kinds())
def test_inputs_go_to_the_nearest_level(kind: str) -> None:
    quantizer = kinds()[kind]
    x = torch.randn(2, 5, 9, 7)
    if not quantizer.signed:
        x = x.abs()
    levels = quantizer.levels()
    assert levels.shape == (levels.shape[0], 2**quantizer.bits)
    assert (levels.diff(dim=1) >= 0).all()
    values = quantizer.normalized(x)
    assert values.shape == x.shape
    rounded = quantizer(x)
    for sample in range(2):
        for channel in range(5):
            own = levels[channel if len(levels) > 1 else 0]
            nearest = (values[sample, channel].flatten()[:, None] - own).abs().argmin(1)
            result = rounded[sample, channel].flatten()
            # The same level, the same result; and the other way round, in the same order.
            pairs = {(int(level), float(value)) for level, value in zip(nearest, result, strict=True)}
            assert len(pairs) == len({level for level, _ in pairs}) == len({value for _, value in pairs})
            assert [value for _, value in sorted(pairs)] == sorted(value for _, value in pairs)
