"""Code of the user's own that makes a network: found, run, and described well enough to be recognised.

It runs only because the caller names it. What it prints goes to stderr, for stdout may be read by a program.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from dfsq.errors import DfsqError, UsageError
from dfsq.networks.recognition import OwnNetwork

_HERE = ""
"""How the working folder is called among the places that modules are imported from."""


@dataclass(frozen=True)
class Code:
    """What makes a network."""

    make: Callable[..., nn.Module]
    name: str
    """As an artifact stores it: ``net.py:Net``, ``package.module:Net``."""
    sha256: str = ""
    """Of the file that was named; "" for a callable, which the file of its network's class stands for."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """What the caller wants it to be called with."""
    folder: str = _HERE
    """What the code imports may lie here."""

    def __call__(self, **arguments: Any) -> nn.Module:
        """Make the network, for inference in float32 on the CPU. Raises :class:`UsageError` where there is none."""
        given = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        with foreign(f"{self.name}({given}) fails", "give its arguments as `arch_args`", self.folder):
            net = self.make(**arguments)
        if not isinstance(net, nn.Module):
            raise UsageError(f"`arch`: {self.name} makes a {type(net).__name__}, not a torch.nn.Module")
        check_parameters(net, self.name)
        return net.float().cpu().eval()

    def takes(self, arguments: Mapping[str, Any]) -> bool:
        """Whether the code can be called with ``arguments``."""
        try:
            inspect.signature(self.make).bind(**arguments)
        except TypeError:
            return False
        except ValueError:  # it has no signature
            return True
        return True

    def describe(self, net: nn.Module) -> Mapping[str, str]:
        """What an artifact stores of the code that made ``net``."""
        return {"name": self.name, "sha256": self.sha256} if self.sha256 else describe_class(type(net))


def resolve(arch: OwnNetwork, arguments: Mapping[str, Any] | None = None) -> Code:
    """The code that ``arch`` names, called with ``arguments``: ``FILE.py:NAME`` and ``MODULE:NAME`` are run.

    Raises :class:`UsageError` for what does not exist, fails or makes no networks, and arguments that JSON cannot hold.
    """
    if isinstance(arch, Code):
        return arch
    arguments = _plain(arguments or {})
    if isinstance(arch, nn.Module) or not (callable(arch) or isinstance(arch, str)):
        raise UsageError(
            f"`arch` is a {type(arch).__name__}; give what makes the network, for example its class, or its name"
        )
    if not isinstance(arch, str):
        return Code(arch, getattr(arch, "__qualname__", type(arch).__name__), arguments=arguments)
    place, _, name = arch.rpartition(":")
    if not place or not name or name.lower().endswith(".py"):
        raise UsageError(f"`arch` {arch!r} is not of the form FILE.py:NAME or MODULE:NAME, for example net.py:Net")
    file = Path(place) if place.lower().endswith(".py") else None
    module = _installed(place) if file is None else _from_file(file)
    make: Any = module
    for part in name.split("."):
        make = getattr(make, part, None)
    if not callable(make) or isinstance(make, nn.Module):
        known = [key for key, value in vars(module).items() if _makes_networks(value, module)]
        what = "is a network already, not what makes one" if callable(make) else "is no class or function there"
        raise UsageError(f"`arch` {arch}: {name} {what}; {place} has {', '.join(known) or 'none'}")
    source = Path(getattr(module, "__file__", None) or "")
    return Code(
        make,
        f"{place if file is None else file.name}:{name}",
        _sha256(source),
        arguments,
        _HERE if file is None else str(file.parent.resolve()),
    )


def describe_class(kind: type) -> Mapping[str, str]:
    """A class as an artifact stores it; its ``sha256`` is "" where no file defines it."""
    file = None
    with suppress(TypeError, OSError):
        file = inspect.getsourcefile(kind)
    return {"name": f"{kind.__module__}:{kind.__qualname__}", "sha256": _sha256(Path(file)) if file else ""}


@contextmanager
def foreign(failure: str, remedy: str, folder: str = _HERE) -> Iterator[None]:
    """Whatever code in this context raises, or that it ends the program, becomes a :class:`UsageError`.

    ``folder`` may be imported from: before all others, but the working folder after them.
    """
    importlib.invalidate_caches()
    added = folder not in sys.path
    if added:
        sys.path.insert(0 if folder else len(sys.path), folder)
    try:
        with redirect_stdout(sys.stderr):
            yield
    except (MemoryError, DfsqError):
        raise
    except SystemExit as error:
        reason = "it ends the program; what a script does belongs under if __name__ == '__main__'"
        raise UsageError(f"{failure}: {reason}") from error
    except Exception as error:
        raise UsageError(f"{failure}: {first_line(error)}; {remedy}") from error
    finally:
        if added:
            with suppress(ValueError):
                sys.path.remove(folder)


def check_parameters(net: nn.Module, name: str) -> None:
    """Raise :class:`UsageError` for a network without parameters, or of shapes without values."""
    if any(each.is_meta for each in (*net.parameters(), *net.buffers())):
        raise UsageError(f"{name} has parameters on the device meta, which have no values; make it on the CPU")
    if not any(True for _ in net.parameters()):
        raise UsageError(f"{name} has no parameters; nothing in it can be quantized")


def first_line(error: BaseException) -> str:
    """Type and message of an error, in one line."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UsageError(f"`arch`: {path} is no file")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"`arch`: cannot read {path}: {error.strerror or error}") from error
    return _run(path.resolve(), content)


@cache
def _run(path: Path, content: bytes) -> ModuleType:
    """The module that a file is: once per content, however many models it makes."""
    name = f"dfsq_own_{path.stem}"
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # dataclasses and pickling look a class's module up
    remedy = "a file that belongs to a package is named PACKAGE.MODULE:NAME"
    with foreign(f"`arch`: {path.name} cannot be run", remedy, str(path.parent)):
        # Not by an import: compiled code from a cache need not be that of the content whose SHA-256 is stored.
        exec(compile(content, str(path), "exec"), vars(module))
    return module


def _installed(name: str) -> ModuleType:
    with foreign(f"`arch`: {name} cannot be imported", "a file is named with its suffix, net.py:Net"):
        return importlib.import_module(name)


def _plain(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """``arguments`` as an artifact gives them back."""
    try:
        plain: Mapping[str, Any] = json.loads(json.dumps(dict(arguments), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise UsageError(f"`arch_args` are stored as JSON: {error}; or give `arch` a callable without any") from error
    return plain


def _makes_networks(value: object, module: ModuleType) -> bool:
    own = getattr(value, "__module__", None) == module.__name__
    return own and (inspect.isfunction(value) or (inspect.isclass(value) and issubclass(value, nn.Module)))


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""
