"""Artifacts with one byte changed, as a bad disk does it, and as somebody does who computes the checksum again."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

MUTATIONS = 300
Confined = Callable[[Callable[[], list[str]]], list[str]]


def mutated(content: bytes, dice: random.Random, first: int, end: int) -> tuple[str, bytes]:
    """Another byte somewhere in ``first``…``end`` − 1."""
    at = dice.randrange(first, end)
    value = dice.choice([dice.randrange(256), content[at] ^ 1 << dice.randrange(8), 0, 255])
    return f"byte {at} = {value}", content[:at] + bytes([value]) + content[at + 1 :]


def test_damage_is_refused_or_harmless(forgery: Any, judge: Any, confined: Confined) -> None:
    content = forgery.content()
    header = int.from_bytes(content[:8], "little") + 8
    dice = random.Random(0)
    spans = [(0, 8)] * 20 + [(8, header)] * (MUTATIONS // 2) + [(header, len(content))] * (MUTATIONS // 2 - 20)
    cases = [mutated(content, dice, *span) for span in spans]
    assert len(cases) == MUTATIONS
    assert confined(lambda: judge.all_complaints(cases)) == []


def test_truncation_is_refused(forgery: Any, judge: Any, confined: Confined) -> None:
    content = forgery.content()
    cases = [(f"{length} bytes", content[:length]) for length in range(0, len(content), len(content) // 60)]
    cases += [(f"{more} bytes more", content + b"\0" * more) for more in (1, 8, 1000)]
    assert confined(lambda: judge.all_complaints(cases)) == []


def test_forged_tensors_end_in_a_picture_or_a_line(forgery: Any, judge: Any, confined: Confined) -> None:
    dice = random.Random(1)
    cases = []
    for _ in range(MUTATIONS // 4):
        name = dice.choice([name for name, tensor in forgery.tensors.items() if tensor.numel()])
        tensor = forgery.tensors[name].clone()
        values = tensor.reshape(-1).view(torch.uint8)
        values[dice.randrange(len(values))] = dice.choice([dice.randrange(256), 0, 127, 128, 255])
        cases.append((name, forgery.with_tensors(**{name: tensor}).content()))
    assert confined(lambda: judge.all_complaints(cases, may_differ=True)) == []


def test_forged_headers_end_in_a_picture_or_a_line(forgery: Any, judge: Any, confined: Confined) -> None:
    dice = random.Random(2)
    cases = []
    for _ in range(MUTATIONS // 2):
        what, text = mutated(forgery.header.encode(), dice, 0, len(forgery.header))
        cases.append((what, replace(forgery, header=text.decode(errors="replace")).content()))
    assert confined(lambda: judge.all_complaints(cases, may_differ=True)) == []
