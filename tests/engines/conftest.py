from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

MakeGraph = Callable[..., Path]


@pytest.fixture
def graph(tmp_path: Path) -> MakeGraph:
    """Write an ONNX graph as another tool would: it repeats every pixel ``scale`` times, and knows nothing of dfsq."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    def make(
        name: str = "foreign.onnx",
        scale: int = 2,
        shape: tuple[Any, ...] = (1, 3, "h", "w"),
        last: bool = False,
        dtype: str = "FLOAT",
        gain: float = 1.0,
        metadata: dict[str, str] | None = None,
    ) -> Path:
        factors = [1, scale, scale, 1] if last else [1, 1, scale, scale]
        kind = getattr(TensorProto, dtype)
        values = [numpy_helper.from_array(np.array(factors, np.float32), "factors")]
        nodes = [helper.make_node("Resize", ["x", "", "factors"], ["y"], mode="nearest")]
        if gain != 1:
            values.append(numpy_helper.from_array(np.array(gain, np.float32), "gain"))
            nodes.append(helper.make_node("Clip", ["y", "", "gain"], ["z"]))
        out = "z" if gain != 1 else "y"
        made = helper.make_graph(
            nodes,
            "graph",
            [helper.make_tensor_value_info("x", kind, shape)],
            [helper.make_tensor_value_info(out, kind, [None] * len(shape))],
            values,
        )
        model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        helper.set_model_props(model, metadata or {})
        onnx.save(model, str(tmp_path / name))
        return tmp_path / name

    return make
