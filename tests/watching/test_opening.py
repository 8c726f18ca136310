"""What a watcher is given, checked before the first step, for all programs alike."""

import numpy as np
import pytest

from kernelearn.errors import ArgumentError, UnknownNameError
from kernelearn.recording.files.manifest import read_manifest
from kernelearn.watching.opening import Opening, tried

ABOUT = {"model": None, "metadata": {}, "weights": {"conv/kernel": (3, 3, 1, 2), "conv/bias": (2,)}}


def opened(folder, **options):
    usual = {"every": 2, "kernels_every": None, "maps_every": 0, "layers": None, "max_bytes": 2**24}
    return Opening("watch", **{"run": folder, **usual, "overwrite": False, **options})


@pytest.mark.parametrize(
    "wrong",
    [
        {"every": -1},
        {"every": 1.5},
        {"kernels_every": True},
        {"maps_every": "2"},
        {"max_bytes": 0},
        {"max_bytes": "1GB"},
        {"run": None},
        {"run": 3},
        {"run": ""},
        {"class_names": 4},
        {"class_names": "cats"},
        {"overwrite": "yes"},
        {"overwrite": None},
        {"overwrite": 1},
    ],
    ids=str,
)
def test_wrong_arguments_are_named(tmp_path, wrong):
    with pytest.raises(ArgumentError, match=f"watch: {next(iter(wrong))} "):
        opened(tmp_path / "run", **wrong)


def test_a_run_that_is_there_is_not_written_over(tmp_path):
    opened(tmp_path / "run").check_free()
    book = opened(tmp_path / "run").book(ABOUT)
    opened(tmp_path / "run")  # as another process of the same training does
    with pytest.raises(ArgumentError, match="overwrite=True"):
        opened(tmp_path / "run").check_free()
    opened(tmp_path / "run", overwrite=True).check_free()
    book.close()


def test_numbers_and_names_of_numpy_are_taken(tmp_path):
    book = opened(tmp_path / "run", every=np.int64(3), class_names=np.array(["a", "b"])).book(ABOUT)
    book.close()
    assert read_manifest(tmp_path / "run")["about"]["class_names"] == ["a", "b"]


@pytest.mark.parametrize(("layers", "error"), [(["nope"], UnknownNameError), (3, ArgumentError)])
def test_layers_that_there_are_not_leave_no_folder(tmp_path, layers, error):
    with pytest.raises(error, match=r"nope|list of names"):
        opened(tmp_path / "run", layers=layers).book(ABOUT)
    assert not (tmp_path / "run").exists()


class Images:
    def __init__(self, images):
        self.given = np.asarray(images, float)

    def images(self):
        return {"images": self.given, "ids": np.full(len(self.given), -1)}

    def maps(self):
        return {"conv": self.given.reshape(-1, 4)}


def test_probe_images_are_tried():
    assert tried("watch", lambda: Images(np.zeros((2, 4)))).given.shape == (2, 4)
    for wrong in ("abc", np.zeros((1, 3))):
        with pytest.raises(ArgumentError, match="watch: the model cannot take probe_images"):
            tried("watch", lambda given=wrong: Images(given))
    with pytest.raises(ArgumentError, match="no image"):
        tried("watch", lambda: Images(np.zeros((0, 4))))
