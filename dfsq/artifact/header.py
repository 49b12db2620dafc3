"""What the header of an artifact says: typed records, to and from JSON.

Every layer is described by itself: nothing decodes from the recipe, which only tells how the file came about.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from dfsq.artifact.fields import Fields, shown

VERSION = 6
"""Version of the format that is written; every earlier one is read. 2: the checksum covers the header, layers name
their universal set and the kind of their input quantizer, and the body scope and what was found are stored. 3: small
tensors are packed. 4: maps in blocks. 5: codes are a zlib stream where that is shorter, shares in powers of two.
6: weights have scales of their columns."""
MAX_SCALE = 16
MAX_RANGE = 65535.0
_BITS = (2, 8)
_WORDS = (1, 5)
_PSNR = (-1000.0, 1000.0)


@dataclass(frozen=True)
class OutputRecord:
    """How the output of one layer is quantized."""

    kind: str
    """As ``inputs`` of the layer."""
    bits: int
    """2…8."""
    signed: bool
    """Whether it may be negative."""

    @classmethod
    def from_json(cls, fields: Fields) -> OutputRecord:
        """Raises ValueError that names the field, its value and its limits."""
        return cls(fields.text("kind"), fields.integer("bits", *_BITS), fields.flag("signed"))


@dataclass(frozen=True)
class QuantizerRecord:
    """What quantizes the values at a place, see :mod:`dfsq.nn.place`; layers say the same in fields of their own."""

    kind: str
    """As ``inputs`` of a layer."""
    bits: int
    """2…8."""
    signed: bool
    """Whether values may be negative."""
    words: int
    """As of a layer."""

    @classmethod
    def from_json(cls, fields: Fields) -> QuantizerRecord:
        """Raises ValueError that names the field, its value and its limits."""
        bits, words = fields.integer("bits", *_BITS), fields.integer("words", *_WORDS)
        return cls(fields.text("kind"), bits, fields.flag("signed"), words)


@dataclass(frozen=True)
class LayerRecord:
    """How one layer is stored. Its tensors, which the kinds name, are beside the header."""

    shape: tuple[int, ...]
    """Of the weight."""
    w_bits: int
    """Bits of the weight's codes, 2…8."""
    weights: str
    """Kind of the quantized weight, see :mod:`dfsq.quantizers.weights`."""
    words: int
    """Of the universal set that the layer's points are out of, 1…5."""
    inputs: str | None
    """Kind of the input quantizer, see :mod:`dfsq.nn.input_quantizer`; None: the input stays in full precision."""
    a_bits: int | None
    """Bits of the input's codes, 2…8; None as ``inputs``."""
    signed: bool | None
    """Whether the input may be negative; None as ``inputs``."""
    outputs: OutputRecord | None = None
    """None, or absent: the output stays in full precision."""

    @classmethod
    def from_json(cls, fields: Fields) -> LayerRecord:
        """Raises ValueError that names the field, its value and its limits."""
        inputs = fields.optional(fields.text, "inputs")
        a_bits = fields.optional(fields.integer, "a_bits", *_BITS)
        signed = fields.optional(fields.flag, "signed")
        if len({each is None for each in (inputs, a_bits, signed)}) > 1:
            described = f"inputs {shown(inputs)}, a_bits {shown(a_bits)} and signed {shown(signed)}"
            raise ValueError(f"{described}: of a layer, all three are null or none is")
        shape = fields.sizes("shape")
        if len(shape) not in (2, 4):
            raise ValueError(f"shape is {list(shape)}; a layer has 2 axes or 4")
        return cls(
            shape=shape,
            w_bits=fields.integer("w_bits", *_BITS),
            weights=fields.text("weights"),
            words=fields.integer("words", *_WORDS),
            inputs=inputs,
            a_bits=a_bits,
            signed=signed,
            outputs=OutputRecord.from_json(fields.fields("outputs")) if "outputs" in fields else None,
        )

    def to_json(self) -> dict[str, Any]:
        """Inverse of :meth:`from_json`."""
        known = {**vars(self), "shape": list(self.shape)}
        outputs = known.pop("outputs")
        return known if outputs is None else {**known, "outputs": dict(vars(outputs))}


@dataclass(frozen=True)
class Header:
    """Everything in an artifact but its tensors. Fields that :class:`dfsq.model.NetworkInfo` has too mean the same."""

    architecture: str
    hyperparameters: Mapping[str, Any]
    scale: int
    rgb_range: float
    channels: int
    found: Mapping[str, str]
    fidelity: float | None
    code: Mapping[str, str] | None
    body: tuple[str, ...] | None
    """Names of the layers in body scope; None in version 1, which did not store them."""
    layers: Mapping[str, LayerRecord]
    """The quantized layers by name."""
    recipe: Mapping[str, Any]
    calibration: Mapping[str, Any]
    source: Mapping[str, str]
    """``file`` and ``sha256`` of the checkpoint."""
    versions: Mapping[str, str]
    """Of the programs that wrote the file."""
    places: Mapping[str, QuantizerRecord] = field(default_factory=dict)
    """The quantized places by name; absent where there are none."""
    version: int = VERSION

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Header:
        """The header that ``document`` is, of this version or an earlier one.

        Raises ValueError that names the field, its value and its limits.
        """
        fields = Fields(document, "")
        version = fields.integer("version", 1, VERSION)
        if version == 1:
            return replace(cls.from_json(_upgraded(document)), version=1, body=None)
        fields.one_of("format", ("dfsq",))
        source, code = fields.fields("source"), fields.optional(fields.fields, "code")
        places = fields.objects("places") if "places" in fields else ()
        header = cls(
            architecture=fields.text("architecture"),
            hyperparameters=fields.mapping("hyperparameters"),
            scale=fields.integer("scale", 1, MAX_SCALE),
            rgb_range=fields.number("rgb_range", 0, MAX_RANGE),
            channels=fields.one_of("channels", (1, 3)),
            found=fields.text_mapping("found"),
            fidelity=fields.optional(fields.number, "fidelity", *_PSNR),
            code=None if code is None else {key: code.text(key) for key in ("name", "sha256")},
            body=fields.texts("body"),
            layers={name: LayerRecord.from_json(each) for name, each in fields.objects("layers")},
            recipe=fields.mapping("recipe"),
            calibration=fields.mapping("calibration"),
            source={key: source.text(key) for key in ("file", "sha256")},
            versions=fields.text_mapping("versions"),
            places={name: QuantizerRecord.from_json(each) for name, each in places},
            version=version,
        )
        own = header.hyperparameters.get("scale", header.scale)
        if code is None and (type(own) is not int or own != header.scale):
            raise ValueError(f"scale is {header.scale}, hyperparameters.scale {shown(own)}; they must be equal")
        return header

    def to_json(self) -> dict[str, Any]:
        """JSON values in the form of this version."""
        layers = {name: layer.to_json() for name, layer in self.layers.items()}
        known = {name: value for name, value in vars(self).items() if name not in ("body", "places")}
        if self.body is not None:
            known["body"] = list(self.body)
        if self.places:
            known["places"] = {name: dict(vars(place)) for name, place in self.places.items()}
        return {**known, "format": "dfsq", "layers": layers}


def _upgraded(document: Mapping[str, Any]) -> dict[str, Any]:
    """A header of version 1 in the form of later ones; what it did not know is what was always so then."""
    fields = Fields(document, "")
    words = fields.fields("recipe").integer("words", *_WORDS)
    layers = {}
    for name, layer in fields.objects("layers"):
        inputs = None if layer.optional(layer.integer, "a_bits", *_BITS) is None else "subset"
        layers[name] = {**document["layers"][name], "words": words, "inputs": inputs}
    since = {"channels": 3, "found": {}, "fidelity": None, "code": None, "body": []}
    return {**document, **since, "layers": layers, "version": VERSION}
