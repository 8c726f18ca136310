"""Small `.keras` files, and the same with a changed config."""

import json
import zipfile

import numpy as np

from kernelearn import Sequential, layers


def two_dense(first, second):
    """Two layers of one shape, with different weights."""
    model = Sequential(
        [layers.Input((4,)), layers.Dense(4, name=first), layers.Dense(4, name=second)], name="two"
    )
    model.set_weights(
        [
            np.random.default_rng(i).normal(size=w.shape).astype("float32")
            for i, w in enumerate(model.get_weights())
        ]
    )
    return model


def config_of(folder, model):
    model.save(folder / "config.keras")
    with zipfile.ZipFile(folder / "config.keras") as archive:
        return json.loads(archive.read("config.json"))


def changed(folder, change, version="3.1.0"):
    """A file of two layers whose config `change` has changed."""
    two_dense("one", "two").save(folder / "plain.keras")
    with zipfile.ZipFile(folder / "plain.keras") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(parts["config.json"])
    change(config)
    parts |= {"config.json": json.dumps(config), "metadata.json": json.dumps({"keras_version": version})}
    with zipfile.ZipFile(folder / "changed.keras", "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return folder / "changed.keras"
