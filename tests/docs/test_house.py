"""The picture of the architecture is what the imports say."""

import importlib.util
from pathlib import Path

HOUSE = Path(__file__).resolve().parents[2] / "docs" / "_house.py"


def script():
    spec = importlib.util.spec_from_file_location("house", HOUSE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_picture_is_what_the_imports_say():
    house = script()
    assert house.PICTURE.read_text("utf-8") == house.drawing(), "make it anew: python docs/_house.py"


def test_rooms_stand_above_what_they_import():
    house = script()
    floor = house.levels({"a": {"b", "c"}, "b": {"c"}, "c": set()})
    assert floor == {"a": 2, "b": 1, "c": 0}


def test_lines_that_others_imply_are_left_out():
    house = script()
    assert house.essential({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == [("a", "b"), ("b", "c")]
