"""Kinds of model files are told by what is in them, and what is not what its ending promises is named."""

import gc
import warnings
import zipfile

import pytest

from kernelearn.errors import FormatError
from kernelearn.formats.model_files import FORMATS, format_to_read
from kernelearn.models import load_model, zoo
from tests.told import texts

ENDINGS = [(ending, kind.title) for kind in FORMATS for ending in kind.endings]


@pytest.mark.parametrize("ending, title", ENDINGS)
@pytest.mark.parametrize(
    "content, words",
    [
        (b"hello, this is a letter\n", "text that begins with 'hello"),
        (b"", "empty"),
        (b"\x93NUMPY\x01\x00", "NumPy"),
        (b"\xff\xfe\x00\x01\x02", "first bytes, ff fe 00 01 02"),
        (b"PK\x03\x04\x14\x00 and then nothing", "zip that is damaged"),
    ],
)
def test_a_file_that_is_not_what_its_ending_promises(tmp_path, ending, title, content, words):
    path = tmp_path / f"x{ending}"
    path.write_bytes(content)
    for read in (format_to_read, load_model, zoo.lenet((8, 8, 1), 3).load_weights):
        with pytest.raises(FormatError, match=f"not a file of {title}: .*{words}"):
            read(path)


def test_a_zip_of_something_else_says_what_it_holds(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.keras", "w") as archive:
        archive.writestr("photos/cat.png", b"")
    with pytest.raises(FormatError, match=r"zip that holds photos/cat\.png"):
        load_model(tmp_path / "x.keras")


def test_our_own_file_is_known_under_any_ending(tmp_path):
    model = zoo.lenet((8, 8, 1), 3)
    model.save(tmp_path / "m.kernelearn")
    (tmp_path / "m.kernelearn").rename(tmp_path / "m.keras")
    assert format_to_read(tmp_path / "m.keras") is None
    assert load_model(tmp_path / "m.keras").count_params() == model.count_params()


def test_files_of_weights_from_old_pytorch_are_files_of_pytorch(tmp_path):
    (tmp_path / "x.pt").write_bytes(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M")
    kind = format_to_read(tmp_path / "x.pt")
    assert kind is not None and kind.title == "PyTorch"


@pytest.mark.parametrize("ending", [".keras", ".h5", ".onnx", ".safetensors", ".kernelearn"])
def test_nothing_stays_open(tmp_path, ending, earlier_objects_left_out):
    whole, half = tmp_path / f"m{ending}", tmp_path / f"half{ending}"
    zoo.lenet((8, 8, 1), 3).save(whole)
    half.write_bytes(whole.read_bytes()[:-40])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        load_model(whole)
        with pytest.raises(FormatError):
            load_model(half)
        gc.collect()
    assert not [text for text in texts(caught, ResourceWarning) if str(tmp_path) in text]
