"""Files of the own format do not look like those of other programs."""

import pytest

from kernelearn.callbacks import ModelCheckpoint
from kernelearn.errors import ArgumentError
from kernelearn.formats.endings import check_own_ending
from kernelearn.models import zoo


@pytest.mark.parametrize("name", ["m.pb", "m.tflite", "m.NPZ", "m.pkl", "m.json", "m.joblib"])
def test_endings_of_other_programs_are_refused_before_anything_is_written(tmp_path, name):
    model = zoo.lenet((8, 8, 1), 3)
    for write in (model.save, model.save_weights, ModelCheckpoint):
        with pytest.raises(ArgumentError, match=r"m\.kernelearn"):
            write(tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["m.kernelearn", "m", "m.v2", "epoch-{epoch:02d}.kernelearn", "m.bin"])
def test_other_endings_are_free(name):
    check_own_ending(name)
