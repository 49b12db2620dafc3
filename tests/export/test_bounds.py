"""Networks quantized between bounds, as graphs."""

from collections.abc import Callable

import pytest
import torch

from dfsq.export import to_onnx
from dfsq.model import SRModel

onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
pytest.importorskip("onnxscript", reason="the extra onnx is not installed")


def test_bounds_and_gates_are_exported_for_any_batch(
    plausible_model: SRModel, with_bounds: Callable[[SRModel, bool], SRModel]
) -> None:
    model = with_bounds(plausible_model, True)
    session = onnxruntime.InferenceSession(to_onnx(model).SerializeToString(), providers=["CPUExecutionProvider"])
    for shape in ((3, 3, 20, 24), (1, 3, 17, 15)):
        x = torch.rand(shape, generator=torch.Generator().manual_seed(2))
        (found,) = session.run(None, {"lr": x.numpy()})
        with torch.inference_mode():
            # Sums in another order may take a few values to the next level.
            assert (torch.from_numpy(found) - model(x)).abs().mean() < 1e-5
