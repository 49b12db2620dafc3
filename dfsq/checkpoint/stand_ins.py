"""Harmless types that training code saves beside the weights.

torch's unpickler gets stand-ins under their names, so that not even these types' own code runs.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any


class _Ignored:
    """Stands for an object beside the tensors. It takes whatever the original took, and does nothing."""

    def __new__(cls, *_: Any) -> _Ignored:
        return super().__new__(cls)

    def __init__(self, *_: Any) -> None: ...

    def __setstate__(self, _: Any) -> None: ...


class _AsMapping:
    """Stands for another kind of dictionary, which may hold the weights."""

    def __new__(cls, *_: Any) -> Any:
        return OrderedDict()


_VALUES = {
    "argparse": "Namespace",
    "builtins": "bool bytes dict float frozenset int list object range slice str tuple type",
    "datetime": "date datetime time timedelta timezone",
    "decimal": "Decimal",
    "numpy": "dtype ndarray bool_ float16 float32 float64 int32 int64",
    "numpy.core.multiarray": "_reconstruct scalar",
    "numpy._core.multiarray": "_reconstruct scalar",
    "pathlib": "Path PosixPath PurePath PurePosixPath PureWindowsPath WindowsPath",
    "pathlib._local": "Path PosixPath PurePath PurePosixPath PureWindowsPath WindowsPath",
    "types": "SimpleNamespace",
    "uuid": "UUID",
}
_MAPPINGS = {
    "collections": "defaultdict",
    "addict.addict": "Dict",
    "easydict": "EasyDict",
    "lightning.fabric.utilities.data": "AttributeDict",
    "lightning_fabric.utilities.data": "AttributeDict",
    "pytorch_lightning.utilities.parsing": "AttributeDict",
    "munch": "Munch",
    "yacs.config": "CfgNode",
}
STAND_INS = [
    (stand_in, f"{module}.{name}")
    for stand_in, modules in ((_Ignored, _VALUES), (_AsMapping, _MAPPINGS))
    for module, names in modules.items()
    for name in names.split()
]
"""What torch's unpickler gets, and under which names."""
