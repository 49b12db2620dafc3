from pathlib import Path

import pytest

from calibration import Recipe, recipe
from calibration.recipe_files import shipped, text_of, to_yaml
from dfsq.errors import UsageError


@pytest.mark.parametrize("name", shipped())
def test_shipped_recipes_name_every_choice_and_round_trip(name: str, tmp_path: Path) -> None:
    import yaml

    assert set(yaml.safe_load(text_of(name))) == set(Recipe().to_dict())
    (tmp_path / "copy.yaml").write_text(to_yaml(recipe(name)))
    assert recipe(str(tmp_path / "copy.yaml")) == recipe(name)


def test_fast_is_the_default() -> None:
    assert recipe("fast") == Recipe()


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("w_bits: 3\nskip: [body.0.*]\nlayer_bits: {'body.1.*': 6}\n")
    mine = recipe(str(tmp_path / "mine.yaml"), a_bits=5)
    assert (mine.name, mine.w_bits, mine.a_bits, mine.selector) == ("mine", 3, 5, "exact")
    assert (mine.skip, mine.layer_bits) == (("body.0.*",), (("body.1.*", 6),))


@pytest.mark.parametrize(
    "text, message",
    [
        ("w_bit: 3", "unknown key 'w_bit'; did you mean 'w_bits'?"),
        ("zzz: 3", "unknown key 'zzz'; known: name"),
        ("w_bits: four", "w_bits is 'four'; it must be int"),
        ("w_bits: true", "w_bits is True; it must be int"),
        ("headroom: wide", "headroom is 'wide'; it must be float or none"),
        ("compensation: 1", "compensation is 1; it must be bool"),
        ("a: [", "is no YAML"),
        ("- 3", "is no recipe"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(UsageError) as error:
        recipe(str(tmp_path / "mine.yaml"))
    assert message in str(error.value)


def test_a_missing_file() -> None:
    with pytest.raises(UsageError, match="cannot read the recipe"):
        recipe("nowhere.yaml")
