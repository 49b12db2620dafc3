"""A model as an ONNX graph, with what it is written into its metadata."""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING

import torch

from dfsq.export import integers
from dfsq.extras import require
from dfsq.model import SRModel

if TYPE_CHECKING:
    import onnx

OPSET = 18
"""The lowest that torch.onnx writes without converting."""
INPUT, OUTPUT = "lr", "sr"


def to_onnx(model: SRModel) -> onnx.ModelProto:
    """``model`` as an ONNX graph: ``lr`` float32 ``(N, 3, H, W)`` in 0–1, N, H and W free, to ``sr``, not clamped.

    Initializers keep the names of the network's parameters, after ``net.``. Raises
    :class:`~dfsq.errors.DfsqError` where onnx is not installed.
    """
    require("onnx", "onnx")
    require("onnxscript", "onnx")
    # Two images, for the exporter takes a dimension of 1 for fixed.
    example = torch.rand(2, 3, 41, 37, generator=torch.Generator().manual_seed(0))
    free = {0: torch.export.Dim("N"), 2: torch.export.Dim("H"), 3: torch.export.Dim("W")}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            model,
            (example,),
            dynamo=True,
            dynamic_shapes=(free,),
            input_names=[INPUT],
            output_names=[OUTPUT],
            opset_version=OPSET,
            verbose=False,
            custom_translation_table=integers.translations(),
        )
    assert program is not None
    integers.store_integers(program.model.graph, model.net)
    graph = program.model_proto
    info = model.info
    metadata = {"scale": info.scale, "architecture": info.architecture, "source": info.source}
    for key, value in metadata.items():
        graph.metadata_props.add(key=f"dfsq.{key}", value=json.dumps(value))
    return graph
