"""Every address answers for every kind of network, or says what is missing; none fails unforeseen."""

import json

import numpy as np
import pytest

from kernelearn import Input, Model, Sequential, layers
from kernelearn.recording import Recorder
from kernelearn.view.page.answers import answer
from kernelearn.view.page.library import Library
from tests.sweeps import some

from .runs import NETWORKS, pictures, recorded


def separable():
    return Sequential(
        [
            Input((6, 6, 2)),
            layers.SeparableConv2D(3, 3, activation="relu", name="conv"),
            layers.Flatten(),
            layers.Dense(3, activation="softmax", name="answer"),
        ]
    )


def shared():
    x = Input((8, 8, 1))
    conv = layers.Conv2D(1, 3, activation="relu", name="conv")
    flat = layers.Flatten()(conv(conv(x)))
    return Model(x, layers.Dense(3, activation="softmax", name="answer")(flat))


def residual():
    x = Input((6, 6, 2))
    y = layers.Conv2D(2, 3, padding="same", activation="relu", name="conv")(x)
    return Model(
        x, layers.Dense(3, activation="softmax", name="answer")(layers.Flatten()(layers.Add()([x, y])))
    )


def any_size():
    stack = [
        layers.Conv2D(3, 3, activation="relu", name="conv"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(3, activation="softmax", name="answer"),
    ]
    return Sequential([Input((None, None, 1)), *stack])


def dropped():
    stack = [layers.Conv2D(3, 3, activation="relu", name="conv"), layers.Dropout(0.5), layers.Flatten()]
    return Sequential([Input((6, 6, 1)), *stack, layers.Dense(3, activation="softmax", name="answer")])


class Own(Model):
    """A network with code of its own."""

    def __init__(self):
        super().__init__()
        self.conv = layers.Conv2D(3, 3, activation="relu", name="conv")
        self.answer = layers.Dense(3, activation="softmax", name="answer")

    def call(self, x):
        return self.answer(layers.Flatten()(self.conv(x)))


MADE = {
    "separable": (separable, (6, 6, 2)),
    "shared": (shared, (8, 8, 1)),
    "residual": (residual, (6, 6, 2)),
    "any size": (any_size, (7, 7, 1)),
    "dropped": (dropped, (6, 6, 1)),
    "own": (Own, (6, 6, 1)),
}


# Those of `NETWORKS` are looked at closely in test_columns.
KINDS = [
    *some(MADE, quick=("shared", "any size", "own")),
    *(pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS),
]


@pytest.fixture(scope="module", params=KINDS)
def library(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kinds") / "run"
    if request.param in NETWORKS:
        recorded(folder, request.param, epochs=1)
        return Library([folder])
    make, shape = MADE[request.param]
    images, labels = pictures(shape, count=16)
    model = make()
    model.compile("adam", "sparse_categorical_crossentropy")
    recorder = Recorder(folder, kernels_every=1, ledger_every=1, maps_every=1, layers="all")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *a, **k: None)
        model.fit(images, labels, batch_size=8, verbose=0, seed=0, callbacks=[recorder])
    return Library([folder])


def asked(library, path, **params):
    found = answer(library, path, {name: str(value) for name, value in params.items()})
    assert found.status != 500, (path, params, found.body)
    return found


def test_every_address_answers_or_says_why_not(library):
    about = json.loads(asked(library, "runs/run").body)
    assert about["last_step"] >= 2 and about["layers"]
    names = [layer["name"] for layer in about["layers"]]
    known = {layer["name"] for layer in about["layers"] if layer["is_recorded"]}
    assert "answer" in known
    for name in ("events", "scalars", "hints", "control"):
        assert asked(library, f"runs/run/{name}").status == 200
    for layer in names:
        found = asked(library, "runs/run/weights", layer=layer, step=2)
        assert (found.status == 200) == (layer in known) or found.status == 404
        for name in ("batch", "probe", "families"):
            asked(library, f"runs/run/{name}", layer=layer, step=2)
        asked(library, "runs/run/dense", layer=layer, step=2, filter=0, channel=0)
        for name in ("film", "distances"):
            asked(library, f"runs/run/{name}", layer=layer)
        asked(library, "runs/run/path", layer=layer, step=2, row=0, filter=0)
    for layer in known:
        weights = next(one for one in about["layers"] if one["name"] == layer)["weights"]
        for weight, told in weights.items():
            index = ",".join("0" * len(told["shape"]))
            for name in ("ledger", "update"):
                asked(library, f"runs/run/{name}", layer=layer, weight=weight, step=2, index=index)
            asked(library, "runs/run/updates", layer=layer, weight=weight, step=2)
            for name in ("trace", "history"):
                asked(library, f"runs/run/{name}", layer=layer, weight=weight, index=index)
    for params in ({"row": 0}, {"probe": 0}):
        asked(library, "runs/run/network", step=2, **params)


def test_the_opening_screen_can_be_shown(library):
    about = json.loads(asked(library, "runs/run").body)
    opening = about["opening"]
    assert opening["layer"] in [layer["name"] for layer in about["layers"]]
    assert np.prod([len(opening["index"]) > 0, opening["step"] >= 1, opening["row"] is not None])
