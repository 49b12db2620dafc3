"""Images before and after: what is shown of them, without loss, and how the keys move through it."""

from __future__ import annotations

import base64
import io
import json
import re
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dfsq.report.compared import Compared, busiest
from dfsq.report.encoding import lossless
from dfsq.report.error_map import STEPS, colours, error_map
from dfsq.report.findings import Findings
from dfsq.report.html import LIMIT
from dfsq.report.viewer import Viewer

Run = Callable[..., Any]
Picture = Callable[[], np.ndarray[Any, Any]]
Pair = Callable[..., Compared]
Rendered = Callable[[Findings], str]


def test_pixels_survive(picture: Picture) -> None:
    image = picture()
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(lossless(image)[1]))), image)


def test_a_png_is_written_where_there_is_no_webp(picture: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dfsq.report.encoding.features.check", lambda name: False)
    kind, data = lossless(picture())
    assert kind == "image/png"
    assert struct.unpack(">II", data[16:24]) == (96, 64)


def shots(page: str) -> list[tuple[str, Image.Image]]:
    """Class and picture of every image in a page."""
    found = re.findall(r'<figure class="version ([\w-]+)"><img [^>]*src="data:[^;]*;base64,([^"]*)"', page)
    return [(kind, Image.open(io.BytesIO(base64.b64decode(data)))) for kind, data in found]


def is_part(part: np.ndarray[Any, Any], image: np.ndarray[Any, Any]) -> bool:
    height, width = part.shape[:2]
    corners = np.argwhere((image[: image.shape[0] - height + 1, : image.shape[1] - width + 1] == part[0, 0]).all(2))
    return any(np.array_equal(image[row : row + height, column : column + width], part) for row, column in corners)


def test_large_images_are_cut_to_what_fits_and_the_rest_is_whole(
    compared: Pair, findings: Callable[..., Findings], rendered: Rendered
) -> None:
    images = [compared("large", 0.5, 1024, 1024), compared("small", 0.4), compared("larger", 0.3, 2000, 1600)]
    page = rendered(findings(compared=images))
    assert 0.8 * LIMIT < len(page.encode()) <= LIMIT
    before = [np.asarray(image) for kind, image in shots(page) if kind == "before"]
    assert [each.shape == image.first.shape for each, image in zip(before, images, strict=True)] == [False, True, False]
    for each, image in zip(before, images, strict=True):
        assert is_part(each, image.first)
    assert min(before[0].shape[:2] + before[2].shape[:2]) >= 96
    assert f"The {before[0].shape[1]}×{before[0].shape[0]} pixels of 1024×1024" in page


def test_nothing_is_shown_of_images_that_do_not_fit(compared: Pair) -> None:
    assert Viewer([compared("x", 0.1, 500, 500)], ("a", "b")).html_within(20_000) == ""


def test_the_part_that_is_shown_is_where_they_differ() -> None:
    error = np.zeros((400, 600))
    error[301:310, 420:440] = 1
    rows, columns = busiest(error, 96, 96)
    assert rows.start <= 301 and rows.stop >= 310 and columns.start <= 420 and columns.stop >= 440
    assert busiest(error, 999, 999) == (slice(0, 400), slice(0, 600))


def test_error_maps_have_the_colours_of_their_scale() -> None:
    first = np.full((8, 8, 3), 100, np.uint8)
    second = first.copy()
    second[:4] += 10  # grey: 219 levels of luma for 255 of each colour
    found = error_map(first, second, end=20.0)
    pixels = np.asarray(Image.open(io.BytesIO(found.png)).convert("RGB"))
    assert pixels.shape == (4, 4, 3)
    step = int(10 * 219 / 255 / (20 / STEPS))
    assert (pixels[:2] == colours()[step]).all()
    assert (pixels[2:] == colours()[0]).all()
    brightness = colours().astype(int) @ (299, 587, 114)
    assert (np.diff(brightness) > 0).all()


STATE = """
  const state = () => {
    const shot = document.querySelector(".shot.current");
    const stage = shot.querySelector(".stage");
    const seen = (kind) => {
      const version = shot.querySelector(".version." + kind);
      if (getComputedStyle(version).visibility !== "visible") return 0;
      const cut = parseFloat((getComputedStyle(version).clipPath.match(/([\\d.]+)px\\)?$/) ?? [0, 0])[1]);
      return 1 - Math.min(1, Math.max(0, cut - stage.scrollLeft) / stage.clientWidth);
    };
    return {
      title: shot.querySelector("h3").textContent,
      after: seen("after"), before: seen("before"), hr: seen("hr"), change: seen("change"), error: seen("error-after"),
      tags: [...shot.querySelectorAll(".tag")].map((each) => each.textContent),
      scales: [...shot.querySelectorAll(".scale")].filter((each) => each.offsetParent).length,
      width: shot.querySelector(".version img").getBoundingClientRect().width,
      range: document.querySelector("input[type=range]").value,
    };
  };
  const press = (key, target = document.body) =>
    target.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
  const found = [state()];
  for (const [key, where] of KEYS) {
    press(key, where ? document.querySelector(".shot.current " + where) : document.body);
    found.push(state());
  }
  return found;
"""


def keys(run: Run, page: str, *pressed: str, at: str = "", **options: Any) -> list[dict[str, Any]]:
    """The viewer at first, and after each key."""
    states: list[dict[str, Any]] = run(
        page, STATE.replace("KEYS", json.dumps([(key, at) for key in pressed])), **options
    )
    return states


def test_keys_flip_between_before_and_after(page: str, run: Run) -> None:
    first, after, before, again = keys(run, page, "f", "F", "f")
    assert (first["after"], first["range"]) == (pytest.approx(0.5, abs=0.01), "50")
    assert first["tags"] == ["full.pth, 30.00 dB", "low.safetensors, 29.50 dB"]
    assert (after["after"], after["tags"]) == (1, ["", "low.safetensors, 29.50 dB"])
    assert (before["after"], before["before"], before["tags"]) == (0, 1, ["full.pth, 30.00 dB", ""])
    assert again == after


def test_keys_move_the_slider_where_it_has_the_focus(page: str, run: Run) -> None:
    first, *moved = keys(run, page, *["ArrowRight"] * 2, *["ArrowLeft"] * 15, at=".stage")
    assert moved[1]["after"] == pytest.approx(0.4, abs=0.01)
    assert moved[-1]["after"] == 1
    assert keys(run, page, "ArrowRight")[1] == first  # elsewhere arrows scroll the page


def test_keys_zoom_and_choose_what_is_shown(page: str, run: Run) -> None:
    first, closer, back, far, *_ = keys(run, page, "+", "-", "-", "-", "-", "-", "-")
    assert closer["width"] > first["width"] == back["width"] > far["width"]
    smallest = keys(run, page, *"-" * 9)[-1]["width"]
    assert smallest == 48  # half of 96 pixels, and no smaller
    _, errors, change, hr, images, following, round_ = keys(run, page, "e", "c", "h", "i", "n", "n")
    assert (errors["error"], errors["after"], errors["scales"]) == (pytest.approx(0.5, abs=0.01), 0, 1)
    assert (change["change"], change["error"], change["scales"]) == (1, 0, 1)
    assert (hr["hr"], hr["tags"], hr["scales"]) == (1, ["HR", ""], 0)
    assert images == first
    assert following["title"] == "Set5: zebra, drop 0.020 dB"
    assert round_["title"] == first["title"] == "Set5: comet, drop 0.500 dB"


def test_keys_are_left_alone_with_modifiers(page: str, run: Run) -> None:
    script = STATE.replace("{ key, bubbles", "{ key, ctrlKey: true, bubbles").replace("KEYS", '[["f", ""], ["+", ""]]')
    first, *others = run(page, script)
    assert others == [first, first]


def test_images_are_at_full_size_where_the_page_is_narrow(
    compared: Pair, findings: Callable[..., Findings], rendered: Rendered, run: Run
) -> None:
    page = rendered(findings(compared=[compared("wide", 0.1, 64, 900)]))
    (first,) = keys(run, page, width=400)
    assert first["width"] == 900
    assert run(page, "return document.documentElement.scrollWidth - innerWidth;", width=400) == 0


def test_buttons_say_what_is_pressed(page: str, run: Run) -> None:
    script = """
      const buttons = (selector) => [...document.querySelectorAll(".bar button" + selector)];
      const pressed = () => buttons("[aria-pressed=true]").map((each) => each.textContent);
      const click = (label) => buttons("").find((each) => each.textContent === label).click();
      const found = [pressed()];
      for (const label of ["Errors", "Set5: zebra, drop 0.020 dB"]) { click(label); found.push(pressed()); }
      return found;
    """
    comet, zebra = "Set5: comet, drop 0.500 dB", "Set5: zebra, drop 0.020 dB"
    assert run(page, script) == [[comet, "Images"], [comet, "Errors"], [zebra, "Errors"]]
