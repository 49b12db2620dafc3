"""Which states are found in what training code writes, in which order, and under which names."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dfsq.checkpoint import read_state, read_states
from dfsq.errors import CheckpointError

State = dict[str, Tensor]


def network(value: float) -> State:
    """Names as a network of its own has them: no common prefix."""
    return {"head.weight": torch.full((2, 2, 3, 3), value), "body.0.bias": torch.full((2,), value)}


WANTED, NOISY = network(1.0), network(2.0)
STEP = torch.tensor(5)


def prefixed(prefix: str, state: State) -> State:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def counted(state: State) -> State:
    return {**state, "total_ops": torch.zeros(1), "head.total_params": torch.zeros(1), "n_averaged": STEP}


FIRST: dict[str, tuple[Any, str]] = {
    "plain": (WANTED, "the file itself"),
    "parameters": ({key: torch.nn.Parameter(value) for key, value in WANTED.items()}, "the file itself"),
    "profiled": (counted(WANTED), "the file itself"),
    **{
        key: ({key: WANTED, "epoch": 3, "optimizer": {"state": {0: NOISY}}}, key)
        for key in ("params", "state_dict", "model_state_dict", "model", "net", "weights", "G", "netG", "E", "best")
    },
    **{
        f"{ema} beside {plain}": ({plain: NOISY, ema: WANTED}, ema)
        for plain, ema in (
            ("params", "params_ema"),
            ("model", "model_ema"),
            ("net", "ema"),
            ("net", "net_ema"),
            ("state_dict", "state_dict_ema"),
            ("params", "params-ema"),
            ("generator", "generatorEMA"),
            ("model", "EMAModel"),
            ("g", "g_ema"),
        )
    },
    **{
        f"{word} is no average": ({"model": WANTED, word: NOISY}, "model")
        for word in ("schema", "cinema", "semantic", "emanation", "teacher")
    },
    "shadow": ({"model": NOISY, "ema": {"decay": 0.999, "shadow": WANTED}}, "ema, shadow"),
    "lightning": ({"state_dict": prefixed("net_g.", WANTED), "callbacks": {"x": NOISY}}, "state_dict, net_g. prefix"),
    "discriminator": ({"netD": NOISY, "D": NOISY, "discriminator": NOISY, "other": WANTED}, "other"),
    "mmagic": (
        {
            "state_dict": {
                "step_counter": STEP,
                **prefixed("generator.", NOISY),
                **prefixed("generator_ema.", WANTED),
                **prefixed("discriminator.", NOISY),
            }
        },
        "state_dict, generator_ema. prefix",
    ),
    "without average": ({**prefixed("generator.", WANTED), **prefixed("net_d.", NOISY)}, "generator. prefix"),
    "beside a discriminator": ({**WANTED, **prefixed("discriminator.", NOISY)}, "the file itself"),
    "ema_pytorch": (
        {"initted": STEP, "step": STEP, **prefixed("online_model.", NOISY), **prefixed("ema_model.", WANTED)},
        "ema_model. prefix",
    ),
    "averaged": ({"n_averaged": STEP, **prefixed("module.", WANTED)}, "module. prefix"),
    "compiled": (prefixed("_orig_mod.module.", WANTED), "_orig_mod. prefix, module. prefix"),
    "compiled inside": ({"params": prefixed("module._orig_mod.", WANTED)}, "params, module. prefix, _orig_mod. prefix"),
    "nested wrappers": ({"net": prefixed("module.model.", WANTED)}, "net, module. prefix, model. prefix"),
    "list": ([WANTED], "item 0"),
    "tuple": ((3, WANTED, "done"), "item 1"),
    "default dictionary": (defaultdict(dict, {"model": WANTED}), "model"),
    "deep": ({"a": [{"b": ({"c": OrderedDict(WANTED)},)}]}, "a, item 0, b, item 0, c"),
}


def written(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "checkpoint.pth"
    torch.save(content, path)
    return path


def equal(found: State, wanted: State) -> bool:
    return found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("name", FIRST)
def test_the_network_comes_first(tmp_path: Path, name: str) -> None:
    content, where = FIRST[name]
    first = read_states(written(tmp_path, content))[0]
    assert first.where == where
    assert equal(first.state, WANTED)


@pytest.mark.parametrize("name", ["model_ema beside model", "mmagic", "ema_pytorch", "shadow"])
def test_what_was_averaged_is_offered_later(tmp_path: Path, name: str) -> None:
    found = [each.state for each in read_states(written(tmp_path, FIRST[name][0]))]
    assert any(equal(state, NOISY) for state in found[1:])


@pytest.mark.parametrize(
    "content", [FIRST[name][0] for name in ("mmagic", "discriminator", "without average", "params")]
)
def test_discriminators_and_optimizers_are_never_offered_alone(tmp_path: Path, content: Any) -> None:
    other = {"x.weight": torch.full((3, 3), 7.0)}
    content = {**content, "discriminator": other, "optimizer_states": [other], "loss_fn": other}
    assert not any("x.weight" in each.state for each in read_states(written(tmp_path, content)))


@pytest.mark.parametrize("prefix", ["backbone.", "sr_net.", "body."])
def test_an_unknown_prefix_is_kept_first_and_then_removed(tmp_path: Path, prefix: str) -> None:
    found = read_states(written(tmp_path, prefixed(prefix, WANTED)))
    assert [equal(each.state, WANTED) for each in found] == [False, True]
    assert [each.where for each in found] == ["the file itself", f"{prefix} prefix"]
    assert equal(found[0].state, prefixed(prefix, WANTED))


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_sequence_called_model_keeps_its_name(tmp_path: Path, prefix: str) -> None:
    sequence = {"model.0.weight": torch.ones(1, 1), "model.1.sub.0.bias": torch.ones(1)}
    assert read_state(written(tmp_path, prefixed(prefix, sequence))).keys() == sequence.keys()


def test_layers_whose_names_sound_like_networks_stay_together(tmp_path: Path) -> None:
    """A part of an unknown network must not be taken for the whole, however familiar its names are."""
    whole = {**prefixed("model.", WANTED), **prefixed("flow.", NOISY), **prefixed("refine.", NOISY)}
    found = read_states(written(tmp_path, whole))
    assert [each.state.keys() for each in found] == [whole.keys()]


@pytest.mark.parametrize(
    "content, message",
    [
        (3, "holds a int, not a state dict"),
        ([1, 2], "holds a list, not a state dict"),
        (torch.zeros(3), "holds a Tensor, not a state dict"),
        ({}, "holds a mapping of nothing, not a state dict"),
        ({"epoch": 3, "opti\x1b[31mmizer\n": 4}, r"holds a mapping of epoch, opti\?\[31mmizer\?, not a state dict"),
        ({str(index) * 99: 0 for index in range(9)}, "(?=.{,700}$).*, …, not a state dict"),
        ({"optimizer": {"state": {0: WANTED}}}, "holds a mapping of optimizer, not"),
    ],
)
def test_a_file_without_a_network_lists_what_it_has(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        read_state(written(tmp_path, content))
    assert str(caught.value).isprintable()


def cycle() -> Any:
    content: dict[str, Any] = {"model": WANTED}
    content["self"] = content
    content["list"] = [content]
    return content


def doubled(times: int) -> Any:
    """A few bytes that are 2 ** ``times`` containers when each is followed."""
    content: Any = {"model": WANTED}
    for _ in range(times):
        content = [content, content]
    return content


@pytest.mark.parametrize("make", [cycle, lambda: doubled(25)])
def test_the_search_ends(tmp_path: Path, make: Callable[[], Any]) -> None:
    assert equal(read_state(written(tmp_path, make())), WANTED)


def test_names_of_nothing_but_dots_end(tmp_path: Path) -> None:
    assert len(read_states(written(tmp_path, {"a." * 9999 + "b": torch.zeros(2, 2)}))) < 99
