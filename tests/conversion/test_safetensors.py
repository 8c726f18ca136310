"""safetensors: weights and whole models there and back, files of others, and headers that lie."""

import contextlib
import json
import struct

import numpy as np
import pytest

from kernelearn import Input, Sequential, errors, layers, load_model
from kernelearn.conversion import safetensors
from kernelearn.conversion.torch.states import arrays_for_torch


def small():
    return Sequential(
        [
            Input((6, 6, 2)),
            layers.Conv2D(3, 3, name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.Flatten(),
            layers.Dense(2, name="out"),
        ]
    )


@pytest.fixture
def x():
    return np.random.default_rng(0).random((4, 6, 6, 2), np.float32)


@pytest.mark.parametrize(
    "kind",
    ["float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "uint64", "bool", ">f4"],
)
def test_types(tmp_path, kind):
    arrays = {
        "a/b": np.arange(6).reshape(2, 3).astype(kind),
        "empty": np.zeros((0, 3), kind),
        "one": np.ones((), kind),
    }
    safetensors.write(tmp_path / "a.safetensors", arrays, {"who": "me"})
    read, metadata = safetensors.read(tmp_path / "a.safetensors")
    assert metadata == {"who": "me"} and set(read) == set(arrays)
    for name, array in arrays.items():
        assert np.array_equal(read[name], array) and read[name].dtype == np.dtype(kind).newbyteorder("=")


def test_bfloat16_is_read_and_complex_is_refused(tmp_path):
    path = tmp_path / "b.safetensors"
    content = np.array([1.0, -2.5, 3e38], np.float32).view(np.uint32)
    write_raw(
        path,
        {"x": {"dtype": "BF16", "shape": [3], "data_offsets": [0, 6]}},
        (content >> 16).astype("<u2").tobytes(),
    )
    assert np.array_equal(safetensors.read(path)[0]["x"], (content >> 16 << 16).view(np.float32))
    with pytest.raises(errors.ArgumentError, match="complex64"):
        safetensors.write(path, {"z": np.zeros(2, np.complex64)}, {})


def test_a_whole_model(tmp_path, x):
    path = tmp_path / "m.safetensors"
    model = small()
    model.save(path)
    assert np.array_equal(load_model(path).predict(x, verbose=0), model.predict(x, verbose=0))
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(x, np.zeros((4, 2)), epochs=2, verbose=0)
    model.save(path)
    again = load_model(path)
    for one in (model, again):
        one.fit(x, np.ones((4, 2)), epochs=1, verbose=0, shuffle=False)
    for ours, theirs in zip(model.get_weights(), again.get_weights(), strict=True):
        assert np.array_equal(ours, theirs)
    assert not load_model(path, compile=False).compiled


def test_weights_by_own_names(tmp_path, x):
    path = tmp_path / "w.safetensors"
    model, other = small(), small()
    model.save_weights(path)
    assert set(other.load_weights(path)) == set(model.weight_paths())
    assert np.array_equal(other.predict(x, verbose=0), model.predict(x, verbose=0))
    model.save(path)  # a whole model gives its weights, too
    other.load_weights(path)
    renamed = Sequential(
        [Input((6, 6, 2)), layers.Conv2D(3, 3, name="conv"), layers.Conv2D(3, 3, name="more")]
    )
    with pytest.raises(errors.FormatError, match="more/kernel"):
        renamed.load_weights(path)
    assert renamed.load_weights(path, by_name=True) == ["conv/kernel", "conv/bias"]
    wider = Sequential([Input((6, 6, 2)), layers.Conv2D(5, 3, name="conv")])
    with pytest.raises(errors.ShapeError, match="skip_mismatch"):
        wider.load_weights(path, by_name=True)
    assert wider.load_weights(path, by_name=True, skip_mismatch=True) == []
    with pytest.raises(errors.ArgumentError, match="no order"):
        model.load_weights(path, by_position=True)


def test_weights_of_pytorch(tmp_path, x):
    """By what the file says, never guessed."""
    path = tmp_path / "pt.safetensors"
    model, other = small(), small()
    safetensors.write(path, arrays_for_torch(model), {"format": "pt"})
    other.load_weights(path)
    assert np.array_equal(other.predict(x, verbose=0), model.predict(x, verbose=0))
    safetensors.write(path, arrays_for_torch(model), {})
    with pytest.raises(errors.FormatError, match="load_torch_state_dict"):
        other.load_weights(path)
    with pytest.raises(errors.FormatError, match="weights alone"):
        load_model(path)


def test_nothing_is_left_of_a_file_that_fails(tmp_path):
    model = Sequential([Input((4,)), layers.Activation(lambda v: v * 2)])
    with pytest.raises(errors.ArgumentError):
        model.save(tmp_path / "m.safetensors")
    assert list(tmp_path.iterdir()) == []


# --- headers that lie


def write_raw(path, header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)


def entry(shape, start, stop, kind="F32"):
    return {"dtype": kind, "shape": shape, "data_offsets": [start, stop]}


HOSTILE = {
    "header longer than the file": ({}, b"", 1 << 40),
    "header of many gigabytes": ({}, b"", (1 << 63) + 1),
    "no JSON": (b"{nothing", b"", None),
    "deep JSON": (b'{"a":' + b"[" * 100_000, b"", None),
    "no table": (b"[1, 2, 3, 4]", b"", None),
    "a name twice": (
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
        b"0000",
        None,
    ),
    "shape too large": ({"a": entry([1 << 40], 0, 4)}, b"0000", None),
    "product overflows": ({"a": entry([1 << 33, 1 << 33], 0, 4)}, b"0000", None),
    "negative shape": ({"a": entry([-1, -1], 0, 4)}, b"0000", None),
    "true as a size": ({"a": entry([True], 0, 4)}, b"0000", None),
    "fraction": ({"a": entry([1.0], 0, 4)}, b"0000", None),
    "behind the end": ({"a": entry([2], 0, 8)}, b"0000", None),
    "backwards": ({"a": entry([1], 4, 0)}, b"0000", None),
    "overlap": ({"a": entry([1], 0, 4), "b": entry([1], 0, 4)}, b"0000", None),
    "hole": ({"a": entry([1], 0, 4), "b": entry([1], 8, 12)}, b"0" * 12, None),
    "bytes left over": ({"a": entry([1], 0, 4)}, b"0" * 9, None),
    "unknown type": ({"a": entry([1], 0, 4, "F8_E4M3")}, b"0000", None),
    "no offsets": ({"a": {"dtype": "F32", "shape": [1]}}, b"0000", None),
    "metadata that is no text": ({"__metadata__": {"a": 1}}, b"", None),
    "many axes": ({"a": entry([1] * 64, 0, 4)}, b"0000", None),
}


@pytest.mark.parametrize("title", HOSTILE)
def test_hostile_headers(tmp_path, title):
    header, data, length = HOSTILE[title]
    path = tmp_path / "h.safetensors"
    write_raw(path, header, data, length)
    with pytest.raises(errors.FormatError, match=r"h\.safetensors"):
        safetensors.read(path)


def test_damage_at_every_place_of_the_header(tmp_path):
    path = tmp_path / "m.safetensors"
    small().save(path)
    good = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.choice(len(good), 40, replace=False):
        path.write_bytes(good[:place])
        with pytest.raises(errors.FormatError):
            load_model(path)
        damaged = bytearray(good)
        damaged[place] ^= int(rng.integers(1, 256))
        path.write_bytes(bytes(damaged))
        with contextlib.suppress(errors.FormatError, errors.UnknownNameError):
            load_model(path)


def test_a_config_that_names_what_is_not_there(tmp_path):
    path = tmp_path / "m.safetensors"
    arrays, metadata = {}, {"format": "kernelearn", "kernelearn": json.dumps({"kind": "model"})}
    for config in (
        '{"kind": "model"}',
        "[]",
        "null",
        "{",
        '{"kind": "model", "model": {"class_name": "os.system", "config": {}}}',
    ):
        safetensors.write(path, arrays, {**metadata, "kernelearn": config})
        with pytest.raises((errors.FormatError, errors.UnknownNameError)):
            load_model(path)
