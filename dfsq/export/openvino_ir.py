"""OpenVINO's own format: an ``.xml`` of the graph, and beside it a ``.bin`` of the weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfsq.errors import DfsqError
from dfsq.export.metadata import PREFIX
from dfsq.extras import require

if TYPE_CHECKING:
    import onnx


def write(graph: onnx.ModelProto, path: Path) -> tuple[Path, ...]:
    """Write ``graph`` to ``path`` and its weights beside it, in float32, and return both.

    The facts of the graph are in the section ``dfsq`` of its ``rt_info``. Raises :class:`DfsqError` where OpenVINO is
    not installed or does not know an operator.
    """
    openvino = require("openvino", "openvino")
    source = path.with_suffix(".onnx")
    source.write_bytes(graph.SerializeToString(deterministic=True))
    try:
        model = openvino.convert_model(str(source))
    except Exception as error:  # it raises what it likes
        reason = " ".join(str(error).split())[-300:]
        raise DfsqError(f"OpenVINO cannot convert the graph ({reason}); write .onnx instead") from error
    finally:
        source.unlink()
    for entry in graph.metadata_props:
        if entry.key.startswith(PREFIX):
            model.set_rt_info(entry.value, ["dfsq", entry.key.removeprefix(PREFIX)])
    openvino.save_model(model, str(path), compress_to_fp16=False)
    return (path, path.with_suffix(".bin"))


def read(path: Path) -> dict[str, str]:
    """The entries that :func:`write` put there."""
    openvino: Any = require("openvino", "openvino")
    section = openvino.Core().read_model(path).get_rt_info(["dfsq"]).value
    return {PREFIX + key: each.value if hasattr(each, "value") else each for key, each in section.items()}
