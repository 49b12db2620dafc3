import pytest
import torch

from dfsq.quantizers.universal import UniversalSet
from dfsq.quantizers.weights import SubsetWeight


@pytest.mark.parametrize("words", [1, 3, 4, 5])
def test_other_levels_out_of_the_same_set(words: int) -> None:
    universal = UniversalSet(words)
    generator = torch.Generator().manual_seed(words)
    rows = [universal.numerators[torch.randperm(len(universal), generator=generator)[:4]] for _ in range(4)]
    points = torch.stack(rows).sort(1).values
    weight = SubsetWeight.nearest(torch.randn(2, 3, 4), points[:2], 2, universal)
    other = SubsetWeight.nearest(torch.randn(2, 3, 4), points[2:], 2, universal)
    elements = weight.elements()
    assert elements.shape == (2, len(universal)) and (elements.diff() > 0).all()
    for row, levels in zip(elements, weight.levels(), strict=True):
        assert torch.isin(levels, row).all()
    levels = universal.values(other.points) * weight.scale[:, None]
    fitted = weight.fitted(other.codes, levels.double())
    assert torch.equal(fitted.levels(), levels) and torch.equal(fitted.codes, other.codes)
