"""Networks of the user's own: a file or an installed module whose code makes the network.

Code runs only because the caller names it. An artifact stores that name and the file's SHA-256, and never imports it by
itself.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from dfsq.errors import CheckpointError, UsageError
from dfsq.model import NetworkInfo, SRModel
from dfsq.networks.any_size import accept_any_size, probe
from dfsq.networks.architecture import State
from dfsq.networks.recognition import OwnNetwork, Recognised, Wanted, variants
from dfsq.networks.scope import body_scope
from dfsq.networks.strict import load_strictly, misfit


def is_own(arch: OwnNetwork | None) -> bool:
    """Whether ``arch`` names code rather than an architecture that is known."""
    return arch is not None and not (isinstance(arch, str) and (":" not in arch or arch.startswith("spandrel:")))


def recognise(state: State, wanted: Wanted) -> Recognised | str:
    """See :class:`~dfsq.networks.recognition.Provider`."""
    if wanted.arch is None or not is_own(wanted.arch):
        return ""
    make, code = _code(wanted.arch)
    net = _made(make, wanted.arch_args, code["name"])
    if reason := misfit(net, state):
        return f"the checkpoint does not fit {code['name']}: {reason}"
    net.load_state_dict(state)
    info = _run(net, code, wanted.arch_args)
    if wanted.scale not in (None, info.scale):
        raise UsageError(f"`scale` {wanted.scale}, but {code['name']} upscales by {info.scale}")
    allowed, excluded = variants(info, {}, None, wanted)

    def built(chosen: NetworkInfo) -> SRModel:
        return SRModel(net, chosen, body_scope(net, None, chosen.channels))

    return Recognised(code["name"], allowed, excluded, built)


def owns(info: NetworkInfo) -> bool:
    """See :class:`~dfsq.networks.recognition.Provider`."""
    return info.code is not None


def build(info: NetworkInfo, state: State, arch: OwnNetwork | None = None) -> SRModel:
    """See :class:`~dfsq.networks.recognition.Provider`."""
    stored = info.code or {}
    if arch is None or not is_own(arch):
        raise CheckpointError(
            f"it holds a network of your own, made by {stored['name']}; name that, or where it is now, as `arch`"
        )
    make, code = _code(arch)
    net = _made(make, info.hyperparameters, code["name"])
    load_strictly(net, state, code["name"])
    found = _run(net, code, info.hyperparameters)
    if (found.scale, found.channels) != (info.scale, info.channels):
        raise CheckpointError(f"{code['name']} makes another network than the artifact's: it upscales by {found.scale}")
    model = SRModel(net, replace(info, code=code), body_scope(net, None, info.channels))
    if code["sha256"] != stored["sha256"]:
        model.notes += (f"{code['name']} is not the file that the artifact was made with; results may differ",)
    return model


def wrap(net: nn.Module, *, scale: int, rgb_range: float = 1.0) -> SRModel:
    """An :class:`SRModel` of a network in memory, RGB or luminance, which is copied neither here nor when it runs.

    ``rgb_range``: its input and output range, 1 or 255. An artifact made of it is loaded with
    ``dfsq.load(path, arch=…)``, given what makes such a network again. Raises :class:`UsageError` where it does not
    upscale by ``scale``.
    """
    if not isinstance(net, nn.Module):
        raise UsageError(f"wrap takes a torch.nn.Module, not a {type(net).__name__}")
    code = _described(type(net), f"{type(net).__module__}:{type(net).__qualname__}")
    info = _run(net.eval(), code, {})
    if info.scale != scale:
        raise UsageError(f"`scale` {scale}, but {code['name']} upscales by {info.scale}")
    if not rgb_range > 0:
        raise UsageError(f"`rgb_range` {rgb_range}; it is 1 or 255")
    info = replace(info, rgb_range=float(rgb_range), found={**info.found, "rgb_range": "option"})
    return SRModel(net, info, body_scope(net, None, info.channels))


def _run(net: nn.Module, code: Mapping[str, str], arguments: Mapping[str, Any]) -> NetworkInfo:
    """What running ``net`` on noise tells; from now on it takes images of any size."""
    try:
        channels, scale, multiple = probe(net)
    except ValueError as error:
        raise UsageError(f"{code['name']} is no super-resolution network: {error}") from error
    if multiple > 1:
        accept_any_size(net, scale, multiple)
    found = {"architecture": "option", "scale": "run", "channels": "run"}
    name = code["name"].rpartition(":")[2]
    return NetworkInfo(name, dict(arguments), scale, 1.0, channels=channels, found=found, code=code)


def _made(make: Callable[..., Any], arguments: Mapping[str, Any], name: str) -> nn.Module:
    try:
        net = make(**arguments)
    except Exception as error:  # whatever foreign code raises
        given = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        raise UsageError(f"{name}({given}) fails: {_first_line(error)}; give its arguments as `arch_args`") from error
    if not isinstance(net, nn.Module):
        raise UsageError(f"{name} makes a {type(net).__name__}, not a torch.nn.Module")
    return net.eval()


def _code(arch: OwnNetwork) -> tuple[Callable[..., Any], Mapping[str, str]]:
    """What makes the network, and how it is described in an artifact."""
    if not isinstance(arch, str):
        name = f"{getattr(arch, '__module__', '?')}:{getattr(arch, '__qualname__', type(arch).__name__)}"
        return arch, _described(arch, name)
    place, _, name = arch.rpartition(":")
    module = _from_file(Path(place)) if place.endswith(".py") else _installed(place)
    make: Any = module
    for part in name.split("."):
        make = getattr(make, part, None)
    if not callable(make):
        known = [key for key, value in vars(module).items() if _makes_networks(value, module)]
        raise UsageError(f"{place} has no class or function {name!r}; it has {', '.join(known) or 'no network'}")
    file = Path(module.__file__ or "")
    return make, {"name": f"{file.name if place.endswith('.py') else place}:{name}", "sha256": _sha256(file)}


def _makes_networks(value: object, module: ModuleType) -> bool:
    own = getattr(value, "__module__", None) == module.__name__
    return own and (inspect.isfunction(value) or (inspect.isclass(value) and issubclass(value, nn.Module)))


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UsageError(f"`arch`: {path} is no file")
    name = f"dfsq_own_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"`arch`: {path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickling look a class's module up
    sys.path.insert(0, str(path.parent.resolve()))  # what lies beside the file may be imported by it
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever foreign code raises
        raise UsageError(f"`arch`: {path} cannot be run: {_first_line(error)}") from error
    finally:
        sys.path.pop(0)
    return module


def _installed(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:  # whatever foreign code raises
        raise UsageError(
            f"`arch`: {name} cannot be imported: {_first_line(error)}; or name a file, net.py:Net"
        ) from error


def _described(code: Any, name: str) -> Mapping[str, str]:
    try:
        file = inspect.getsourcefile(code)
    except TypeError:
        file = None
    return {"name": name, "sha256": _sha256(Path(file)) if file else ""}


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
