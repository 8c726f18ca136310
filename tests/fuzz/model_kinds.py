"""Files of models by other programs: Keras, ONNX, and where it is installed PyTorch.

Beside some of them lies a file with `SECRET`, which they must not lead to.
"""

import importlib.util
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from kernelearn import layers, models
from tests.fuzz import mutate
from tests.fuzz.hdf5_parts import hidden_hdf5, part_of_hdf5, value_in_hdf5
from tests.fuzz.kind import SECRET, Kind, digest, file_of
from tests.fuzz.onnx_parts import part_of_onnx, place_of_tensor

HAS_TORCH = importlib.util.find_spec("torch") is not None


def model_kinds(folder: Path) -> list[Kind]:
    """All of them, their good files written below `folder`."""
    secret = file_of(folder, "secret.h5", hidden_hdf5(SECRET))
    file_of(folder, "secret.bin", np.full(4096, SECRET, np.float32).tobytes())
    torch_kinds = _torch_kinds(folder) if HAS_TORCH else []
    return [*_keras_kinds(folder, secret), _onnx_kind(folder), *_outside_kinds(folder), *torch_kinds]


def network() -> Any:
    """A small network with its state of training."""
    model = models.Sequential(
        [
            layers.Input((4, 4, 1)),
            layers.Conv2D(2, 3, padding="same", activation="relu", name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.MaxPooling2D(2, name="pool"),
            layers.Flatten(name="flat"),
            layers.Dense(3, activation="softmax", name="dense"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], engine="reference")
    return model


def _weights(path: Path) -> bytes:
    return digest([weight.numpy() for weight in models.load_model(path).weights])


def _keras_kinds(folder: Path, secret: Path) -> list[Kind]:
    """Files of Keras: HDF5 has no checksums, so that damage may change numbers; the zip has them."""
    model = network()
    names = (("k", ".keras"), ("h", ".h5"), ("w", ".weights.h5"))
    paths = [folder / name / f"m{ending}" for name, ending in names]
    for path in paths:
        path.parent.mkdir()
        (model.save_weights if path.name.endswith(".weights.h5") else model.save)(path)

    def weights() -> bytes:
        other = network()
        other.load_weights(paths[2])
        return digest(other.get_weights())

    part = part_of_hdf5(secret)
    inside = {
        "member": mutate.member_of_zip,
        "value": mutate.inside_of_zip({".json": mutate.json_file}),
        "part": mutate.inside_of_zip({".h5": part}),
    }
    return [
        Kind(".keras", paths[0], lambda: _weights(paths[0]), True, inside),
        Kind(".h5", paths[1], lambda: _weights(paths[1]), False, {"value": value_in_hdf5, "part": part}),
        Kind(".weights.h5", paths[2], weights, False, {"part": part}),
    ]


def _onnx_kind(folder: Path) -> Kind:
    path = folder / "onnx" / "a.onnx"
    inputs = layers.Input((8, 8, 2))
    y = layers.Conv2D(4, 3, strides=2, padding="same", name="first")(inputs)
    y = layers.GroupNormalization(2, name="groups")(layers.PReLU(shared_axes=[1, 2], name="slopes")(y))
    y = layers.UpSampling2D(2, name="larger")(layers.AveragePooling2D(2, name="means")(y))
    y = layers.Conv2DTranspose(2, 3, padding="same", name="back")(layers.DepthwiseConv2D(3, name="deep")(y))
    y = layers.Dense(3, activation="softmax", name="last")(layers.Flatten(name="flat")(y))
    models.Model(inputs, y).save(path)
    return Kind("ONNX", path, lambda: _weights(path), False, {"part": part_of_onnx})


def _outside_kinds(folder: Path) -> list[Kind]:
    """An ONNX file whose tensors lie in a file beside it: damage to either of them."""
    path, data = folder / "beside" / "a.onnx", folder / "beside" / "a.data"
    network().save(path)
    proto = onnx.load(path)
    onnx.external_data_helper.convert_model_to_external_data(proto, location=data.name, size_threshold=0)
    onnx.save(proto, path)
    (folder / "beside" / "link").symlink_to(folder / "secret.bin")
    (folder / "beside" / "inner").symlink_to(folder)
    os.mkfifo(folder / "beside" / "pipe")
    read = lambda: _weights(path)  # noqa: E731
    return [
        Kind("ONNX, outside", path, read, False, {"place": place_of_tensor}),
        Kind("ONNX, data", data, read, False, {}),
    ]


def _torch_kinds(folder: Path) -> list[Kind]:
    import torch
    from torch import nn

    module = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1),
        nn.BatchNorm2d(2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(8, 3),
    ).eval()
    program, state = folder / "p" / "m.pt2", folder / "pt" / "m.pt"
    for path in (program, state):
        path.parent.mkdir()
    sizes = ({0: torch.export.Dim.DYNAMIC},)
    exported = torch.export.export(module, (torch.zeros(2, 1, 4, 4),), dynamic_shapes=sizes)
    torch.export.save(exported, program)
    torch.save(module.state_dict(), state)

    def weights() -> bytes:
        other = network()
        other.load_weights(state, by_position=True)
        return digest(other.get_weights())

    values = {"value": mutate.inside_of_zip({".json": mutate.json_file})}
    return [
        Kind(".pt2", program, lambda: _weights(program), False, {"member": mutate.member_of_zip, **values}),
        Kind(".pt", state, weights, False, {"member": mutate.member_of_zip}),
    ]
