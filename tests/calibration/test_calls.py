"""What a pass calls, and what that costs: by hand."""

import torch
from torch import Tensor, nn

from calibration.calls import Calls, count_calls
from dfsq.model import NetworkInfo, SRModel


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.shared = nn.Conv2d(4, 4, 1, groups=2)
        self.tokens = nn.Linear(4, 8)
        self.never, self.place = nn.Conv2d(4, 4, 3), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.shared(self.shared(self.first(x)))
        return self.place(self.tokens(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))  # type: ignore[no-any-return]


def test_calls_and_their_work() -> None:
    model = SRModel(Net(), NetworkInfo("none", {}, 1, 1.0), ())
    names = ["first", "shared", "tokens", "never", "place"]
    # Both networks multiply every position by all weights; moments are taken of one position in nine.
    assert count_calls(model, names, torch.rand(1, 3, 6, 9)) == {
        "first": Calls(1, 2 * 54 * 27 * (4 + 27 / 9)),
        "shared": Calls(2, 2 * 2 * 54 * 2 * (4 + 2 * 2 / 9)),
        "tokens": Calls(1, 2 * 54 * 4 * (8 + 4 / 9)),
        "never": Calls(0, 0.0),
        "place": Calls(1, 0.0),
    }
