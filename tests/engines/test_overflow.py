"""Integer weights that a processor without VNNI cannot multiply right are told, others not."""

import pytest
import torch

from calibration import quantize, recipe
from dfsq.export import to_onnx
from dfsq.model import SRModel

pytest.importorskip("openvino", reason="the extra openvino is not installed")


@pytest.mark.parametrize("bits", [7, 8])
def test_weights_that_overflow_here_are_told(small_model: SRModel, monkeypatch: pytest.MonkeyPatch, bits: int) -> None:
    from dfsq.engines.openvino import open_session

    images = (torch.rand(2, 3, 24, 24) * 255).round() / 255
    changes = {"w_bits": bits, "compensation": False, "float_share": 0.0, "headroom": 1.0}
    graph = to_onnx(quantize(small_model, [images], recipe("int8", **changes))).SerializeToString()
    for instructions in ("SSE4.1", "AVX2", "AVX512", "AVX2_VNNI", "AVX512_VNNI", "AMX", "NEON"):
        monkeypatch.setattr("dfsq.engines.openvino.instruction_set", lambda limited, name=instructions: name)
        noted = any("no VNNI" in each for each in open_session(graph, "f32", 1).notes)
        assert noted == (bits == 8 and instructions in ("SSE4.1", "AVX2", "AVX512")), instructions
