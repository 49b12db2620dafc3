"""The provider of all registered architectures: names identify one, shapes its hyper-parameters."""

from __future__ import annotations

from dfsq import limits
from dfsq.errors import CheckpointError, UsageError
from dfsq.model import NetworkInfo, SRModel
from dfsq.networks.architecture import Architecture, Dialect, State
from dfsq.networks.bounded import Bounded
from dfsq.networks.recognition import OwnNetwork, Recognised, Wanted, overridden, variants
from dfsq.networks.registry import architectures, named
from dfsq.networks.scope import body_scope
from dfsq.networks.strict import listed, load_strictly


def recognise(state: State, wanted: Wanted) -> Recognised | str:
    """See :class:`~dfsq.networks.recognition.Provider`."""
    if wanted.arch is not None and (not isinstance(wanted.arch, str) or ":" in wanted.arch):
        return ""
    known = architectures().values() if wanted.arch is None else [named(wanted.arch)]
    for architecture in known:
        dialect = architecture.dialect(state)
        if dialect is not None:
            return _recognised(architecture, dialect, state, wanted)
    return _closest(state) if wanted.arch is None else _refusal(named(wanted.arch), state)


def owns(info: NetworkInfo) -> bool:
    """See :class:`~dfsq.networks.recognition.Provider`."""
    return info.architecture in architectures()


def build(info: NetworkInfo, state: State, arch: OwnNetwork | None = None) -> SRModel:
    """See :class:`~dfsq.networks.recognition.Provider`."""
    architecture = named(info.architecture)
    try:
        with Bounded({name: tuple(tensor.shape) for name, tensor in state.items()}):
            net = architecture.build(**info.hyperparameters)
    except (TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"cannot build {architecture.title}: {error}") from error
    load_strictly(net, state, architecture.title)
    return SRModel(net, info, body_scope(net, architecture.body, info.channels))


def _recognised(architecture: Architecture, dialect: Dialect, state: State, wanted: Wanted) -> Recognised:
    title = architecture.title
    try:
        state = dialect.rename(state)
        hyperparameters = architecture.hyperparameters(state, _wanted_scale(wanted))
        hidden, heads = architecture.hidden(state), architecture.heads(state)
        stated_range = architecture.stated_range(state)
    except LookupError as error:
        raise CheckpointError(f"incomplete {title} checkpoint: cannot find {error}") from error
    except (ArithmeticError, ValueError) as error:
        raise CheckpointError(f"the shapes of this {title} checkpoint contradict each other") from error
    hyperparameters = overridden(hyperparameters, wanted.arch_args, title)
    own = hyperparameters["scale"]
    if wanted.scale not in (None, own):
        raise UsageError(f"`scale` {wanted.scale}, but this {title} checkpoint upscales by {own}")
    if not (isinstance(own, int) and limits.SCALE.allow(own)):
        raise CheckpointError(f"this {title} checkpoint would upscale by {own}; possible are {limits.SCALE}")
    info = NetworkInfo(
        architecture=architecture.name,
        hyperparameters=dict(hyperparameters),
        scale=own,
        rgb_range=architecture.rgb_range,
        channels=hyperparameters.get("channels", 3),
        found={
            "architecture": "parameter names" if wanted.arch is None else "option",
            "scale": _scale_found(heads, wanted),
            **{name: "option" for name in wanted.arch_args},
        },
    )
    allowed, excluded = variants(info, hidden, stated_range, wanted)

    def loaded(info: NetworkInfo) -> SRModel:
        unused = architecture.drop(info.hyperparameters)
        return build(info, {key: value for key, value in state.items() if not (unused and key.startswith(unused))})

    return Recognised(title, allowed, excluded, loaded)


def _wanted_scale(wanted: Wanted) -> int | None:
    return wanted.scale if wanted.scale is not None else wanted.arch_args.get("scale")


def _scale_found(heads: tuple[int, ...], wanted: Wanted) -> str:
    if _wanted_scale(wanted) is not None:
        return "option"
    if len(heads) > 1:
        return f"first of its heads {', '.join(f'×{each}' for each in heads)}"
    return "shapes"


def _refusal(architecture: Architecture, state: State) -> str:
    nearest = max(architecture.dialects, key=lambda dialect: dialect.similarity(state))
    missing = [key for key in nearest.keys if key not in state]
    present = [key for key in nearest.absent if key in state]
    reason = (
        f"it lacks {listed(missing)}" if missing else f"it has {listed(present)}" if present else "its shapes differ"
    )
    return f"this is no {architecture.title} checkpoint: {reason}; leave `arch` out to detect it"


def _closest(state: State) -> str:
    """Which architectures were tried, and which has most of its key names in ``state``."""
    tried = architectures().values()
    nearest = max(tried, key=lambda each: each.similarity(state))
    share = nearest.similarity(state)
    hint = f"closest: {nearest.name}, {share:.0%} of its key names" if share else "no key name in common"
    return f"unknown architecture; tried {', '.join(sorted(architectures()))} ({hint})"
