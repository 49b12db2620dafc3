"""A reader of artifacts, written from docs/artifact-format.md alone: it imports nothing of dfsq's.

Where it and dfsq differ, the page, the reader or dfsq is wrong. numpy stands for what any language has.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
DTYPES = {
    "BOOL": "?",
    "U8": "u1",
    "I8": "i1",
    "I16": "<i2",
    "I32": "<i4",
    "I64": "<i8",
    "F16": "<f2",
    "F32": "<f4",
    "F64": "<f8",
}
NAMES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "I16": "int16",
    "I32": "int32",
    "I64": "int64",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
}
F = np.float32


class Reader:
    """The content of a file: header, and tensors by name."""

    def __init__(self, path: Path) -> None:
        content = path.read_bytes()
        (length,) = struct.unpack("<Q", content[:8])
        index, data = json.loads(content[8 : 8 + length]), content[8 + length :]
        text = index.pop("__metadata__")["dfsq"]
        self.header: dict[str, Any] = json.loads(text)
        first = self.header["version"] == 1
        claimed = self.header["tensors_sha256" if first else "checksum"]
        digest = hashlib.sha256(b"" if first else text.replace(claimed, "0" * 64).encode())
        for name in sorted(index):
            entry = index[name]
            shape = "[" + ", ".join(map(str, entry["shape"])) + "]"
            digest.update(f"{name} torch.{NAMES[entry['dtype']]} {shape}\n".encode())
            digest.update(data[slice(*entry["data_offsets"])])
        self.is_whole = digest.hexdigest() == claimed
        self.tensors = {name: tensor(entry, data) for name, entry in index.items()}
        if "dfsq.packed" in self.tensors:
            packed = self.tensors.pop("dfsq.packed").tobytes()
            (length,) = struct.unpack("<Q", packed[:8])
            small, data = json.loads(zlib.decompress(packed[8 : 8 + length])), packed[8 + length :]
            assert not small.keys() & self.tensors.keys()
            self.tensors |= {name: tensor(entry, data) for name, entry in small.items()}
        if first:
            words = self.header["recipe"]["words"]
            for layer in self.header["layers"].values():
                layer |= {"words": words, "inputs": None if layer["a_bits"] is None else "subset"}

    def under(self, prefix: str) -> dict[str, Array]:
        """Tensors by suffix."""
        found = {name.removeprefix(prefix): each for name, each in self.tensors.items() if name.startswith(prefix)}
        return found

    def weight(self, layer: str) -> Array:
        """The weight of a layer, decoded."""
        record, stored = self.header["layers"][layer], self.under(f"{layer}.weight.")
        shape = record["shape"]
        rows = codes(stored["codes"], record["w_bits"], int(np.prod(shape))).reshape(shape[0], -1)
        if record["weights"] == "uniform":
            values = (rows.astype(F) - stored["zero_point"].astype(F)[:, None]) * stored["scale"][:, None]
        elif record["weights"] == "subset":
            levels = points(stored, shape[0], record["w_bits"], record["words"])
            levels = over(levels, record["words"]) * stored["scale"][:, None]
            values = np.take_along_axis(levels, rows, 1)
        else:
            assert record["weights"] == "bounds"
            values = level(rows, stored["lower"], stored["upper"], record["w_bits"])
        if "columns" in stored:
            octaves, quarters = np.divmod(codes(stored["columns"], 6, values.shape[1]), 4)
            fractions = np.array([1, 0.8408964, 0.70710677, 0.59460354], F)[quarters]
            values = values * (fractions * F(2) ** -octaves.astype(F))
        return values.reshape(shape)

    def others(self) -> dict[str, Array]:
        """Parameters and buffers that no layer or place decodes; floats as float32."""
        taken = [f"{name}.{part}." for name in self.header["layers"] for part in ("weight", "input", "output")]
        taken += [f"{name}.place." for name in self.header.get("places", {})]
        left = {name: each for name, each in self.tensors.items() if not name.startswith(tuple(taken))}
        return {name: each.astype(F) if each.dtype.kind == "f" else each for name, each in left.items()}

    def quantizers(self) -> dict[str, Quantizer]:
        """What rounds, by the prefix of its tensors."""
        found = {}
        for name, layer in self.header["layers"].items():
            if layer["inputs"] is not None:
                found[f"{name}.input"] = Quantizer(
                    layer["inputs"], layer["a_bits"], layer["signed"], layer["words"], self.under(f"{name}.input.")
                )
            if "outputs" in layer:
                out = layer["outputs"]
                found[f"{name}.output"] = Quantizer(
                    out["kind"], out["bits"], out["signed"], layer["words"], self.under(f"{name}.output.")
                )
        for name, place in self.header.get("places", {}).items():
            found[f"{name}.place"] = Quantizer(
                place["kind"], place["bits"], place["signed"], place["words"], self.under(f"{name}.place.")
            )
        return found


class Quantizer:
    """What rounds the values at a place."""

    def __init__(self, kind: str, bits: int, signed: bool, words: int, stored: dict[str, Array]) -> None:
        self.kind, self.bits, self.signed, self.words, self.stored = kind, bits, signed, words, stored

    def points(self, channels: int) -> Array:
        """Numerators ``(C, 2^bits)``, or ``(1, 2^bits)`` for a whole tensor."""
        fixed = self.stored.get("fixed")
        rows = 1 if fixed is not None and fixed.ndim == 1 else channels
        return points(self.stored, rows, self.bits, self.words)

    def shares(self, channels: int) -> Array:
        """``(C, C)``, rows and columns in the order of rounding."""
        result = np.zeros((channels, channels), F)
        below = np.tril_indices(channels, -1)
        if "scales" in self.stored:
            rows, columns = (each.astype(int) for each in self.stored["scales"])
            shares = codes(self.stored["shares"], 8, len(below[0])) - 128
            result[below] = shares * 2.0 ** (rows[below[0]] + columns[below[1]])
            return result
        if "largest" not in self.stored:
            result[np.triu_indices(channels, 1)] = self.stored["shares"]
            return result.T
        magnitudes = np.array([1, 3, 6, 9, 13, 18, 24, 32], F) / F(32)
        levels = np.concatenate([-magnitudes[::-1], magnitudes])
        result[below] = levels[codes(self.stored["shares"], 4, len(below[0]))] * self.stored["largest"][below[0]]
        return result

    def round(self, sample: Array) -> Array:
        """What becomes of one sample, channels last: ``(H, W, C)`` with blocks, else ``(n, C)``."""
        rounded = {"subset": self._subset, "affine": self._affine, "bounds": self._bounds}[self.kind]
        if "block" not in self.stored:
            return rounded(sample)
        side, result = int(self.stored["block"]), np.empty_like(sample)
        if "reach" in self.stored:
            sample = sample.clip(-self.stored["reach"], self.stored["reach"])
        for top in range(0, len(sample), side):
            for left in range(0, sample.shape[1], side):
                part = sample[top : top + side, left : left + side]
                (height, width, channels) = part.shape
                full = np.pad(part, ((0, side - height), (0, side - width), (0, 0)), "edge")
                square = rounded(full.reshape(-1, channels)).reshape(full.shape)
                result[top : top + side, left : left + side] = square[:height, :width]
        return result

    def _subset(self, x: Array) -> Array:
        channels, stored = x.shape[1], self.stored
        if "fixed" in stored:
            shift, spread = (np.broadcast_to(each, channels) for each in stored["fixed"])
        else:
            high, low = x.max(0), x.min(0)
            shift = x.astype(np.float64).mean(0).astype(F) if self.signed else np.zeros(channels, F)
            spread = np.maximum(high - shift, shift - low) + F(1e-8)
            spread = np.minimum(spread, stored.get("limit", spread))
        numerators = np.broadcast_to(self.points(channels), (channels, 2**self.bits))
        levels = over(numerators, self.words) * spread[:, None] + shift[:, None]
        order = stored.get("order", np.arange(channels))
        shares = self.shares(channels) if "order" in stored else np.zeros((channels, channels), F)
        half = 2 * self.words * 4**self.words
        result, errors = np.empty_like(x), np.zeros_like(x)
        for i, channel in enumerate(order):
            taken = x[:, channel] - errors[:, :i] @ shares[i, :i]
            n = np.floor((taken - shift[channel]) / spread[channel] * F(half)).clip(-half, half - 1)
            row = numerators[channel]
            chosen = np.searchsorted(row[:-1] + row[1:], n, side="right")
            result[:, channel] = levels[channel][chosen]
            errors[:, i] = taken - result[:, channel]
        return result

    def _affine(self, x: Array) -> Array:
        scale, zero_point = self.stored["scale"], self.stored["zero_point"].astype(F)
        steps = scale * self.stored.get("factors", F(1))
        chosen = (np.round(x / steps) + zero_point).clip(0, 2**self.bits - 1)
        return (chosen - zero_point) * scale

    def _bounds(self, x: Array) -> Array:
        lower, upper = self.stored["lower"], self.stored["upper"]
        if "gate.first" in self.stored:
            factors = self.gate(x.astype(np.float64).mean(0).astype(F))
            upper, lower = upper * factors[0], lower * factors[1]
        return between(x, lower, upper, self.bits)

    def gate(self, means: Array) -> Array:
        """Factors of the upper and of the lower bound."""
        stored, channels = self.stored, len(means)
        first = codes(stored["gate.first"], 2, 32 * channels).reshape(32, channels).astype(F) - 1
        second = codes(stored["gate.second"], 2, 64).reshape(2, 32).astype(F) - 1
        hidden = (first * stored["gate.magnitudes"][0]) @ own_levels(means)
        hidden = np.maximum(hidden * stored["gate.scale"] + stored["gate.shift"], 0)
        return 2 / (1 + np.exp(-((second * stored["gate.magnitudes"][1]) @ own_levels(hidden))))


def tensor(entry: dict[str, Any], data: bytes) -> Array:
    """A tensor of an index; bfloat16 as float32."""
    content = data[slice(*entry["data_offsets"])]
    if entry["dtype"] == "BF16":
        return (np.frombuffer(content, "<u2").astype("<u4") << 16).view(F).reshape(entry["shape"])
    return np.frombuffer(content, DTYPES[entry["dtype"]]).reshape(entry["shape"])


def codes(packed: Array, bits: int, count: int) -> Array:
    """``count`` codes."""
    size = -(-count * bits // 8)
    assert packed.ndim == 1 and len(packed) <= size
    if len(packed) < size:
        unpacked = np.frombuffer(zlib.decompress(packed.tobytes()), np.uint8).astype(np.int64)
        assert len(unpacked) == count
        return unpacked
    planes = np.unpackbits(packed, bitorder="little")[: count * bits].reshape(count, bits)
    return (planes.astype(np.int64) << np.arange(bits)).sum(1)


def universal(words: int) -> Array:
    """Numerators of the universal set, ascending."""
    one = 4**words
    each = [(0, one, one // 2**i, one // 2 ** (i + words)) for i in range(1, words + 1)]
    sums = {sum(chosen) for chosen in itertools.product(*each)}
    return np.array(sorted(sums | {-value for value in sums}))


def over(numerators: Array, words: int) -> Array:
    """What numerators stand for."""
    return (numerators / (words * 4**words)).astype(F)


def points(tensors: dict[str, Array], rows: int, bits: int, words: int) -> Array:
    """Numerators ``(rows, 2^bits)``, ascending."""
    k, elements = 2**bits, universal(words)
    if "gaps" in tensors:
        return elements[codes(tensors["gaps"], 8, rows * k).reshape(rows, k).cumsum(1)]
    stored = tensors["points"]
    if stored.dtype == np.dtype("<i2"):
        assert stored.shape in ((rows, 2), (rows, k))
        wide = stored.astype(np.int64)
        return wide if stored.shape[1] == k else wide[:, :1] + wide[:, 1:] * np.arange(k)
    index_bits = (len(elements) - 1).bit_length()
    mask, indices = -(-rows * len(elements) // 8), -(-rows * k * index_bits // 8)
    if mask < indices and len(stored) == mask:
        chosen = codes(stored, 1, rows * len(elements)).reshape(rows, -1)
        return np.stack([elements[row == 1] for row in chosen])
    return elements[codes(stored, index_bits, rows * k)].reshape(rows, k)


def grid(lower: Array, upper: Array, bits: int) -> tuple[Array, Array]:
    """Codes a unit, and what the code 0 stands for in steps."""
    rate = F(2**bits - 1) * (F(1) / (upper - lower))
    return rate, np.round(lower * rate)


def level(code: Array, lower: Array, upper: Array, bits: int) -> Array:
    """What codes between bounds stand for."""
    if not upper - lower > 2.0**-100:
        return np.full(code.shape, upper, F)
    rate, first = grid(lower, upper, bits)
    return ((code.astype(F) + first) / rate).astype(F)


def between(x: Array, lower: Array, upper: Array, bits: int) -> Array:
    """The level nearest to each value."""
    if not upper - lower > 2.0**-100:
        return np.full(x.shape, upper, F)
    rate, first = grid(lower, upper, bits)
    return level(np.minimum(np.round(x.clip(lower, upper) * rate - first), 2**bits - 1), lower, upper, bits)


def own_levels(vector: Array) -> Array:
    """A vector of the gate, rounded to two bits between its own extremes."""
    return between(vector, vector.min(), vector.max(), 2)
