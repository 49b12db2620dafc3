"""What others make of a float graph: ONNX Runtime's static quantization and NNCF, each with its defaults."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration import PatchStream

Feed = list[NDArray[np.float32]]


def pictures(patches: PatchStream) -> Feed:
    """The calibration patches one by one, as a graph takes them."""
    return [image.numpy() for batch in patches for image in batch.split(1)]


def onnxruntime_static(graph: Path, target: Path, feed: Feed, name: str) -> None:
    """U8 activations and S8 weights per channel, every operator that it can: the form that it runs fastest."""
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._images: Iterator[Any] = iter(feed)

        def get_next(self) -> dict[str, Any] | None:
            image = next(self._images, None)
            return None if image is None else {name: image}

    quantization.quantize_static(
        graph,
        target,
        Reader(),
        quant_format=quantization.QuantFormat.QDQ,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        per_channel=True,
    )


def nncf(graph: Path, target: Path, feed: Feed) -> None:
    """``nncf.quantize`` with its defaults, as OpenVINO IR."""
    import nncf as library
    import openvino

    model = library.quantize(openvino.Core().read_model(graph), library.Dataset(feed))
    openvino.save_model(model, target, compress_to_fp16=False)
