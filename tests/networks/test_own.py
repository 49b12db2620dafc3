"""Networks of the user's own: what they may be, what they may not, and what running them tells."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

import calibration
import dfsq
from calibration import OnePass
from dfsq.errors import UsageError
from dfsq.networks.any_size import probe

X = torch.rand(1, 3, 21, 18, generator=torch.Generator().manual_seed(2))


class Net(nn.Module):
    """Enlarges by repeating pixels, and adds a little."""

    def __init__(self, features: int = 6, scale: int = 2, channels: int = 3) -> None:
        super().__init__()
        self.scale = scale
        self.head = nn.Conv2d(channels, features, 3, padding=1)
        self.inner = nn.Conv2d(features, features, 3, padding=1)
        self.other = nn.Conv2d(features, features, 1)
        self.up = nn.Conv2d(features, channels * scale**2, 3, padding=1)
        nn.init.normal_(self.up.weight, std=0.01)
        nn.init.zeros_(self.up.bias)

    def body(self, x: Tensor) -> Tensor:
        return F.relu(self.other(F.relu(self.inner(x))))

    def forward(self, x: Tensor) -> Any:
        return F.pixel_shuffle(self.up(self.body(self.head(x))), self.scale) + F.interpolate(x, scale_factor=self.scale)


class Doubled(Net):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x), x


class Blind(Net):
    def forward(self, x: Tensor, sigma: Tensor) -> Any:
        return super().forward(x)


class Classifier(Net):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x).mean((2, 3))


class Grey(Net):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x)[:, :1]


class Restless(Net):
    def forward(self, x: Tensor) -> Any:
        return super().forward(F.dropout(x))


class Exits(Net):
    def forward(self, x: Tensor) -> Any:
        sys.exit(0)


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (Doubled(), "it returns a tuple, not one tensor.*subclass it"),
        (Blind(), "missing 1 required positional argument: 'sigma'"),
        (Classifier(), "it maps 1×3×67×43 to 1×3"),
        (Grey(), "it maps 1×3×67×43 to 1×1×134×86"),
        (Restless(), "another one each time: dropout or noise"),
        (Exits(), "it ends the program"),
        (nn.Conv2d(3, 3, 3, stride=2), "it maps 1×3×67×43 to 1×3×33×21"),
        (nn.Conv2d(4, 4, 1), "4 channels"),
        (nn.ReLU(), "has no parameters"),
        (Net().to("meta"), "on the device meta"),
        (Net().half(), r"parameters of torch.float16; wrap its .float\(\)"),
        (Net().double(), r"parameters of torch.float64; wrap its .float\(\)"),
        (Net(scale=3), "`scale` 2, but .*Net upscales by 3"),
        ("net.pth", "takes a torch.nn.Module, not a str"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_networks_that_cannot_be_wrapped(net: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        dfsq.wrap(net, scale=2)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("rgb_range", [0, -1, float("nan"), float("inf"), "255"])
def test_ranges_that_are_none(rgb_range: Any) -> None:
    with pytest.raises(UsageError, match="`rgb_range`"):
        dfsq.wrap(Net(), scale=2, rgb_range=rgb_range)


@pytest.mark.parametrize("does", [dfsq.save, dfsq.evaluate, calibration.quantize])
def test_a_bare_module_has_to_be_wrapped(does: Callable[..., Any]) -> None:
    with pytest.raises(UsageError, match=rf"{does.__name__} takes an SRModel, not a Net; wrap it first: dfsq.wrap"):
        does(Net(), "data")
    with pytest.raises(UsageError, match="takes an SRModel, not a dict"):
        does({}, "data")


class Dropping(Net):
    """With everything that training leaves behind."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(6)
        self.drop = nn.Dropout(0.5)

    def body(self, x: Tensor) -> Tensor:
        return self.drop(self.norm(super().body(x)))


class Windows(Net):
    """Sides are multiples of six."""

    def body(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(F.pixel_unshuffle(super().body(x), 6), 6)


class Deep(Net):
    """Small images are too small for it."""

    def body(self, x: Tensor) -> Tensor:
        return super().body(x) * F.avg_pool2d(x, 9, stride=5).mean((2, 3), keepdim=True)


class Square(Net):
    def body(self, x: Tensor) -> Tensor:
        return super().body(x) + super().body(x.transpose(2, 3))


class Overwriting(Net):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x.mul_(2).div_(2))


class Remembering(Net):
    """A mask for the size of the last image, and a counter."""

    mask: Tensor
    runs: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", torch.ones(8, 8))
        self.register_buffer("runs", torch.zeros(1))
        self.register_buffer("mean", torch.full((1, 6, 1, 1), 0.25))

    def body(self, x: Tensor) -> Tensor:
        self.runs += 1
        if self.mask.shape != x.shape[2:]:
            self.mask = torch.ones(x.shape[2:])
        return super().body(x - self.get_buffer("mean")) * self.mask


class Initialized(Net):
    """Chooses a factor by the first image it sees, unless a checkpoint holds it."""

    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(1))
        self.register_buffer("seen", torch.zeros((), dtype=torch.bool))

    def body(self, x: Tensor) -> Tensor:
        if not self.seen:
            self.factor.data.fill_(1 / float(x.std()))
            self.seen.fill_(True)
        return super().body(x) * self.factor


class Viewing(Net):
    """Views maps as only torch's default layout allows."""

    def body(self, x: Tensor) -> Tensor:
        return super().body(x).view(len(x), -1).view(len(x) * x.shape[1], 1, *x.shape[2:]).view(x.shape)


class Recursive(Net):
    """The same layer under three names."""

    def __init__(self) -> None:
        super().__init__()
        self.again = nn.ModuleList([self.inner, self.inner])

    def body(self, x: Tensor) -> Tensor:
        for layer in self.again:
            x = F.relu(layer(x))
        return x


class Tied(Net):
    def __init__(self) -> None:
        super().__init__()
        self.third = nn.Conv2d(6, 6, 3, padding=1)
        self.third.weight, self.third.bias = self.inner.weight, self.inner.bias

    def body(self, x: Tensor) -> Tensor:
        return self.third(super().body(x))


class Borrowing(Net):
    """Uses a layer's weight without calling it, and asks another for what only its own class has."""

    class Gained(nn.Conv2d):
        def __init__(self) -> None:
            super().__init__(6, 6, 1)
            self.gain = 0.5

    def __init__(self) -> None:
        super().__init__()
        self.gained = self.Gained()

    def body(self, x: Tensor) -> Tensor:
        x = F.conv2d(x, self.inner.weight, padding=1)
        return self.gained.gain * self.gained(self.other(x))


class Standardized(Net):
    """Convolutions that compute something else than their class does."""

    class Layer(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            return F.conv2d(x, self.weight - self.weight.mean(), self.bias, padding=1)

    def __init__(self) -> None:
        super().__init__()
        self.inner = self.Layer(6, 6, 3)
        self.normed = weight_norm(nn.Conv2d(6, 6, 1))

    def body(self, x: Tensor) -> Tensor:
        return self.normed(super().body(x))


class Hooked(Net):
    def __init__(self) -> None:
        super().__init__()
        self.inner.register_forward_hook(lambda _layer, _inputs, output: 2 * output)


class Keywords(Net):
    def body(self, x: Tensor) -> Tensor:
        return self.other(F.relu(self.inner(input=x)))


class Same(Net):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Conv2d(6, 6, 4, padding="same", padding_mode="circular")


class Shuffling(Net):
    """The upsampler is no module, and not the end."""

    def __init__(self) -> None:
        super().__init__()
        self.grow = nn.Conv2d(6, 24, 3, padding=1)
        self.last = nn.Conv2d(6, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Any:
        return self.last(F.leaky_relu(F.pixel_shuffle(self.grow(self.body(self.head(x))), 2)))


BODIES: list[tuple[type[Net], tuple[str, ...]]] = [
    (Net, ("inner", "other")),
    (Dropping, ("inner", "other")),
    (Windows, ("inner", "other")),
    (Deep, ("inner", "other")),
    (Square, ("inner", "other")),
    (Overwriting, ("inner", "other")),
    (Remembering, ("inner", "other")),
    (Initialized, ("inner", "other")),
    (Viewing, ("inner", "other")),
    (Recursive, ("inner",)),
    (Tied, ("inner", "other", "third")),
    (Borrowing, ("other",)),
    (Standardized, ("other",)),
    (Hooked, ("other",)),
    (Keywords, ("other",)),
    (Same, ("inner", "other")),
    (Shuffling, ("inner", "other")),
]


@pytest.mark.parametrize("recipe", ["fast", "accurate"])
@pytest.mark.parametrize(("kind", "body"), BODIES, ids=lambda value: getattr(value, "__name__", ""))
def test_reloading_gives_equal_outputs(kind: type[Net], body: tuple[str, ...], recipe: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = kind()
    with torch.no_grad():
        expected = net.eval()(torch.rand(1, 3, 36, 36, generator=torch.Generator().manual_seed(3)))
    net.train()
    model = dfsq.wrap(net, scale=2)
    with torch.no_grad():
        own = model(torch.rand(1, 3, 36, 36, generator=torch.Generator().manual_seed(3)))
        torch.testing.assert_close(own, expected, rtol=1e-4, atol=1e-5)
    assert model.body == body
    quantized = calibration.quantize(
        model, [torch.rand(2, 3, 24, 24)], calibration.recipe(recipe, w_bits=3, a_bits=3, outside_bits=8)
    )
    with torch.no_grad():
        quantized(torch.rand(1, 3, 12, 12))
    dfsq.save(quantized, tmp_path / "q.safetensors")
    again = dfsq.load(tmp_path / "q.safetensors", arch=kind)
    with torch.inference_mode():
        assert torch.equal(again(X), quantized(X))
        assert not torch.equal(quantized(X), model(X))
        assert again(X[..., :2, :1]).shape == (1, 3, 4, 2)
    assert again.notes == ()


def test_size_requirements() -> None:
    found = {kind.__name__: probe(kind().eval()) for kind in (Net, Windows, Deep, Square)}
    assert {name: (each.multiple, each.minimum, each.square) for name, each in found.items()} == {
        "Net": (1, 1, False),
        "Windows": (6, 6, False),
        "Deep": (1, 16, False),
        "Square": (1, 1, True),
    }
    assert probe(Net(channels=1, scale=4)).channels == 1


def test_a_wrapped_network_keeps_its_input(tmp_path: Path) -> None:
    x = X.clone()
    with torch.no_grad():
        dfsq.wrap(Overwriting(), scale=2)(x)
    assert torch.equal(x, X)


def test_what_a_trained_network_has_seen_is_loaded(tmp_path: Path) -> None:
    with torch.no_grad():
        net = Initialized().eval()
        expected = net(X)
    assert net.seen
    torch.save(net.state_dict(), tmp_path / "net.pth")
    model = dfsq.load(tmp_path / "net.pth", arch=Initialized)
    with torch.no_grad():
        torch.testing.assert_close(model(X), expected)


@pytest.mark.parametrize("prefix", ["module.", "net_g.", "model.", "a.b."])
def test_prefixes_of_checkpoints(tmp_path: Path, prefix: str) -> None:
    state = Net().state_dict()
    torch.save({"params": {prefix + key: value for key, value in state.items()}}, tmp_path / "net.pth")
    assert dfsq.load(tmp_path / "net.pth", arch=Net).scale == 2


def test_a_prefix_that_is_the_networks_own(tmp_path: Path) -> None:
    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = Net()

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.model(x)
            return result

    for prefix in ("", "module."):
        state = {prefix + key: value for key, value in Outer().state_dict().items()}
        torch.save(state, tmp_path / "net.pth")
        assert dfsq.load(tmp_path / "net.pth", arch=Outer).body == ("model.inner", "model.other")


@pytest.mark.parametrize("normalization", [weight_norm, nn.utils.weight_norm, spectral_norm])
@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated")
def test_weights_that_are_computed_become_parameters(normalization: Any, tmp_path: Path) -> None:
    def make() -> Net:
        net = Net()
        net.inner = normalization(net.inner)
        return net

    with torch.no_grad():
        net = make().eval()
        expected = net(X)
    computed = net.state_dict()
    merged = {key: value for key, value in computed.items() if not key.startswith("inner.") or key == "inner.bias"}
    for state in (computed, {**merged, "inner.weight": net.inner.weight}):
        torch.save(state, tmp_path / "net.pth")
        model = dfsq.load(tmp_path / "net.pth", arch=make)
        with torch.no_grad():
            torch.testing.assert_close(model(X), expected)
    assert model.body == ("inner", "other")
    quantized = calibration.quantize(model, [X])
    dfsq.save(quantized, tmp_path / "q.safetensors")
    with torch.inference_mode():
        assert torch.equal(dfsq.load(tmp_path / "q.safetensors", arch=make)(X), quantized(X))


def test_a_callable_that_does_not_fit(tmp_path: Path) -> None:
    torch.save(Net(8).state_dict(), tmp_path / "net.pth")
    with pytest.raises(
        dfsq.errors.CheckpointError, match=r"does not fit .*:Net: misshapen: head.weight \(8, 3, 3, 3\)"
    ):
        dfsq.load(tmp_path / "net.pth", arch=Net)
    assert dfsq.load(tmp_path / "net.pth", arch=lambda: Net(8)).scale == 2
    assert dfsq.load(tmp_path / "net.pth", arch=Net, arch_args={"features": 8}).info.hyperparameters == {"features": 8}


def test_what_cannot_be_quantized_is_said() -> None:
    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.last(self.first(x))
            return result

    with pytest.raises(UsageError, match="none is in body scope; name some by `body`"):
        calibration.quantize(dfsq.wrap(Flat(), scale=1), [X])
    model = dfsq.wrap(Net(), scale=2)
    model.net.lock = __import__("threading").Lock()  # type: ignore[assignment]
    with pytest.raises(UsageError, match="holds what cannot be copied"):
        calibration.quantize(model, [X])

    class Detached(Net):
        @torch.no_grad()
        def forward(self, x: Tensor) -> Any:
            return super().forward(x)

    with pytest.raises(UsageError, match="takes no gradients"):
        calibration.quantize(dfsq.wrap(Detached(), scale=2), [X], OnePass(feedback=True))
