"""The provider of networks of the user's own: what their code makes, and what running it tells about them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from dataclasses import replace
from typing import Any

from torch import nn

from dfsq.errors import UsageError
from dfsq.model import NetworkInfo, SRModel
from dfsq.networks.any_size import Sizes, accept_any_size, probe
from dfsq.networks.architecture import State
from dfsq.networks.changing import buffers, forget_changed, remember
from dfsq.networks.code import Code, check_parameters, describe_class, foreign, resolve
from dfsq.networks.habits import accept_channels_last, check_repeatable, compute_weights
from dfsq.networks.recognition import OwnNetwork, Recognised, Wanted, variants
from dfsq.networks.scope import body_scope
from dfsq.networks.strict import misfit

_WRAPPED = "wrap"
"""How the architecture of a network in memory was found: nothing is known of what it was made with."""
_REMEDY = "its forward must take one tensor (N, C, H, W) and return one; subclass it where it does more"


def is_own(arch: OwnNetwork | None) -> bool:
    """Whether ``arch`` names code rather than an architecture that is known."""
    if not isinstance(arch, str):
        return arch is not None
    arch = arch.lower()
    return (":" in arch and not arch.startswith("spandrel:")) or arch.endswith(".py")


def bound(arch: OwnNetwork | None, arguments: Mapping[str, Any] | None) -> OwnNetwork | None:
    """``arch`` with the arguments that the caller gives, for :func:`build`."""
    return resolve(arch, arguments) if arch is not None and arguments and is_own(arch) else arch


def recognise(state: State, wanted: Wanted) -> Recognised | str:
    """See :class:`~dfsq.networks.recognition.Provider`."""
    if wanted.arch is None or not is_own(wanted.arch):
        return ""
    code = resolve(wanted.arch, wanted.arch_args)
    net = code(**code.arguments)
    described = code.describe(net)
    name = described["name"]
    sizes = _load(net, state, name)
    if isinstance(sizes, str):
        return f"the checkpoint does not fit {name}: {sizes}; give its arguments as `arch_args`"
    if wanted.scale not in (None, sizes.scale):
        raise UsageError(f"`scale` {wanted.scale}, but {name} upscales by {sizes.scale}")
    allowed, excluded = variants(_info(sizes, described, code.arguments, "option"), {}, None, wanted)

    def built(chosen: NetworkInfo) -> SRModel:
        return _model(net, chosen)

    return Recognised(name, allowed, excluded, built)


def owns(info: NetworkInfo) -> bool:
    """See :class:`~dfsq.networks.recognition.Provider`."""
    return info.code is not None


def build(info: NetworkInfo, state: State, arch: OwnNetwork | None = None) -> SRModel:
    """See :class:`~dfsq.networks.recognition.Provider`."""
    stored = info.code or {}
    if arch is None or not is_own(arch):
        raise UsageError(
            f"it holds a network of your own, made by {stored['name']}; name that, or where it is now, as `arch`"
        )
    code = resolve(arch)
    net = code(**_arguments(code, info))
    _untie(net)
    described = code.describe(net)
    alike = {described["sha256"], describe_class(type(net))["sha256"]}
    sizes = _load(net, state, described["name"])
    if isinstance(sizes, str):
        raise UsageError(f"`arch` {described['name']} makes another network than the artifact's: {sizes}")
    if (sizes.scale, sizes.channels) != (info.scale, info.channels):
        raise UsageError(
            f"`arch` {described['name']} makes another network than the artifact's: "
            f"it upscales {sizes.channels} channels by {sizes.scale}, not {info.channels} by {info.scale}"
        )
    model = _model(net, replace(info, architecture=described["name"], code=described))
    if stored["sha256"] not in alike and any(alike) and stored["sha256"]:
        model.notes += (f"{described['name']} is not the file that the artifact was made with; results may differ",)
    return model


def wrap(net: nn.Module, *, scale: int, rgb_range: float = 1.0) -> SRModel:
    """An :class:`SRModel` of a network in memory, RGB or luminance, which it puts into evaluation mode and holds
    without a copy.

    ``rgb_range`` is its input and output range, mostly 1 or 255; nothing checks it. An artifact made of the result is
    loaded with ``dfsq.load(path, arch=…)``, given what makes such a network again. Raises :class:`UsageError` where it
    does not upscale by ``scale``, is not in float32, or does not return the same twice.
    """
    if isinstance(net, SRModel) or not isinstance(net, nn.Module):
        raise UsageError(f"wrap takes a torch.nn.Module, not a {type(net).__name__}")
    described = describe_class(type(net))
    name = described["name"]
    if not (isinstance(rgb_range, int | float) and 0 < rgb_range < math.inf):
        raise UsageError(f"`rgb_range` {rgb_range!r}; it is 1 or 255")
    check_parameters(net, name)
    wrong = next((each.dtype for each in net.parameters() if each.is_floating_point() and each.itemsize != 4), None)
    if wrong is not None:
        raise UsageError(f"{name} has parameters of {wrong}; wrap its .float()")
    sizes = _run(net.eval(), name)
    if sizes.scale != scale:
        raise UsageError(f"`scale` {scale}, but {name} upscales by {sizes.scale}")
    info = _info(sizes, described, {}, _WRAPPED)
    return _model(net, replace(info, rgb_range=float(rgb_range), found={**info.found, "rgb_range": "option"}))


def check_wrapped(model: object, does: str) -> None:
    """Raise :class:`UsageError` unless ``model`` is an :class:`SRModel`; ``does`` says what needs one."""
    if not isinstance(model, SRModel):
        hint = "; wrap it first: dfsq.wrap(net, scale=…)" if isinstance(model, nn.Module) else ""
        raise UsageError(f"{does} takes an SRModel, not a {type(model).__name__}{hint}")


def _arguments(code: Code, info: NetworkInfo) -> Mapping[str, Any]:
    """What to call ``code`` with to make the network that ``info`` describes again."""
    if info.found.get("architecture") == _WRAPPED:
        return code.arguments
    for name, value in code.arguments.items():
        if name not in info.hyperparameters or info.hyperparameters[name] != value:
            made = ", ".join(f"{key}={each}" for key, each in info.hyperparameters.items()) or "no arguments"
            raise UsageError(f"`arch_args` {name}={value}, but the artifact was made with {made}; leave them out")
    # A callable without parameters has been given its arguments where it was defined.
    return info.hyperparameters if code.sha256 or code.takes(info.hyperparameters) else {}


def _untie(net: nn.Module) -> None:
    """Give every layer parameters of its own: what layers shared is quantized for each by itself."""
    seen: set[nn.Parameter] = set()
    for module in net.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter in seen:
                module.register_parameter(name, nn.Parameter(parameter.detach().clone()))
            seen.add(parameter)


def _info(sizes: Sizes, code: Mapping[str, str], arguments: Mapping[str, Any], how: str) -> NetworkInfo:
    found = {"architecture": how, "scale": "run", "channels": "run"}
    return NetworkInfo(
        code["name"], dict(arguments), sizes.scale, 1.0, channels=sizes.channels, found=found, code=dict(code)
    )


def _model(net: nn.Module, info: NetworkInfo) -> SRModel:
    with foreign(f"{info.architecture} is no super-resolution network", _REMEDY):
        return SRModel(net, info, body_scope(net, None, info.channels))


def _load(net: nn.Module, state: State, name: str) -> Sizes | str:
    """Load ``state`` into ``net``, which then takes images of any size; or why it does not fit.

    Buffers that ``net`` changes when it runs may be absent, or of another shape.
    """
    changing = _probed(net, name)[1]
    expected = net.state_dict().keys()
    if not expected <= _renamed(state, expected).keys():
        # Checkpoints are read with weight normalization undone, and artifacts written so.
        with foreign(f"{name} computes its weights", _REMEDY):
            compute_weights(net)
    state = _renamed(state, net.state_dict().keys())
    changing = remember(net, state, changing)
    state = {key: tensor for key, tensor in state.items() if key not in changing}
    if reason := misfit(net, state):
        return reason
    net.load_state_dict(state)
    return _run(net, name)


def _run(net: nn.Module, name: str) -> Sizes:
    """What running ``net`` with its weights tells; from now on it takes images of any size."""
    sizes, _ = _probed(net, name)
    if sizes.restricted:
        accept_any_size(net, sizes.scale, sizes.multiple, sizes.minimum, sizes.square)
    with foreign(f"{name} cannot be quantized", _REMEDY):
        accept_channels_last(net, sizes.channels)
        check_repeatable(net, sizes.channels)
    return sizes


def _probed(net: nn.Module, name: str) -> tuple[Sizes, frozenset[str]]:
    """What running ``net`` tells, and the names of buffers that it changes, which it keeps as they were."""
    before = buffers(net)
    with foreign(f"{name} is no super-resolution network", _REMEDY):
        sizes = probe(net)
    return sizes, forget_changed(net, before)


def _renamed(state: State, expected: Set[str]) -> State:
    """``state`` with one prefix removed from all names, or added, where it has all the ``expected`` ones then."""
    if expected <= state.keys():
        return state
    first = min(expected, default="")
    for key in state:
        removed = key[: -len(first)] if key.endswith(f".{first}") else ""
        added = first[: -len(key)] if first.endswith(f".{key}") else ""
        renamed = {added + each.removeprefix(removed): state[each] for each in state if each.startswith(removed)}
        if (removed or added) and expected <= renamed.keys():
            return renamed
    return state
