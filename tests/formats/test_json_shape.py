"""JSON values are compared with what they should be before they are used."""

import pytest

from kernelearn.errors import FormatError
from kernelearn.formats.json_shape import Every, check_json

SHAPE = {"count": int, "rate?": (float, None), "names": [str], "sizes": Every([int]), "more?": {"on": bool}}
GOOD = {"count": 3, "rate": 0.5, "names": ["a"], "sizes": {"x": [1, 2]}, "more": {"on": True}, "other": None}


@pytest.mark.parametrize("change", [{}, {"rate": None}, {"rate": 2}, {"names": []}, {"sizes": {}}])
def test_what_fits(change):
    check_json({**GOOD, **change}, SHAPE, "file", FormatError)
    check_json({key: GOOD[key] for key in ("count", "names", "sizes")}, SHAPE, "file", FormatError)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": "3"}, r"\['count'\] should be int, but is '3'"),
        ({"count": 3.0}, r"\['count'\] should be int"),
        ({"count": True}, r"\['count'\] should be int"),
        ({"rate": "x"}, r"\['rate'\] should be"),
        ({"rate": False}, r"\['rate'\] should be"),
        ({"names": "ab"}, r"\['names'\] should be a list"),
        ({"names": ["a", 1]}, r"\['names'\]\[1\] should be str"),
        ({"sizes": []}, r"\['sizes'\] should be a dict"),
        ({"sizes": {"x": [1, None]}}, r"\['sizes'\]\['x'\]\[1\] should be int"),
        ({"more": {}}, r"\['more'\] has no 'on'"),
        ({"more": {"on": 1}}, r"\['more'\]\['on'\] should be bool"),
    ],
)
def test_what_does_not(change, message):
    with pytest.raises(FormatError, match=f"file is damaged: its {message}"):
        check_json({**GOOD, **change}, SHAPE, "file", FormatError)


@pytest.mark.parametrize("value", [None, [], 1, "x", {}])
def test_the_whole_may_be_something_else(value):
    with pytest.raises(FormatError, match="content"):
        check_json(value, SHAPE, "file", FormatError)
