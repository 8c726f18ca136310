"""What can be known before the first step is said before the first step."""

import numpy as np
import pytest

from kernelearn import Input, Model, Sequential, layers, metrics, optimizers
from kernelearn.callbacks import (
    Callback,
    EarlyStopping,
    LambdaCallback,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
)
from kernelearn.data import as_dataset
from kernelearn.errors import ArgumentError, DataError, KernelearnError, ShapeError
from tests.told import texts

RNG = np.random.default_rng(5)
X, Y = RNG.random((20, 4, 4, 1)).astype("float32"), RNG.integers(0, 3, 20)
OTHER = RNG.random((20, 4, 3, 1)).astype("float32")


def net(**compile):
    model = Sequential([Input((4, 4, 1)), layers.Flatten(), layers.Dense(3, activation="softmax")])
    options = {"loss": "sparse_categorical_crossentropy", "optimizer": "sgd", **compile}
    model.compile(engine="reference", **options)
    return model


def refused(error, match, model, *data, **options):
    """The fit is refused without one step."""
    before = model.get_weights()
    with pytest.raises(error, match=match):
        model.fit(*(data or (X, Y)), verbose=0, **{"batch_size": 2, "epochs": 2, **options})
    assert model.optimizer.iterations == 0
    for a, b in zip(before, model.get_weights()):
        assert np.array_equal(a, b)


# --- data


@pytest.mark.parametrize(
    ("validation", "error", "match"),
    [
        ((OTHER, Y), ShapeError, "takes arrays of shape"),
        ((X, np.eye(3)[Y]), ShapeError, "one-hot"),
        ((X, np.where(np.arange(20) == 19, 3, Y)), DataError, "labels must be 0 to 2"),
        ((X, Y, np.ones((20, 7))), ShapeError, "sample_weight"),
        (as_dataset(OTHER, Y), ShapeError, "takes arrays of shape"),
        ((([X, X]), Y), ShapeError, "1 inputs"),
        (((OTHER, Y) for _ in range(3)), ShapeError, "takes arrays of shape"),
    ],
)
def test_validation_data(validation, error, match):
    refused(error, match, net(), validation_data=validation, validation_freq=2)


def test_a_label_in_the_last_batch():
    refused(DataError, "labels must be 0 to 2", net(), X, np.where(np.arange(20) == 19, 7, Y), shuffle=False)


def test_a_metric_that_cannot_take_the_targets():
    refused(KernelearnError, "shape", net(metrics=[metrics.R2Score()]))


def test_metrics_start_afresh_after_they_were_tried():
    model = net(metrics=["accuracy"])
    model.layers[1].set_weights([np.zeros((16, 3)), np.array([0.0, 0.0, 9.0])])
    model.optimizer.learning_rate = 0.0
    history = model.fit(X, np.full(20, 2), verbose=0)
    assert history.history["accuracy"] == [1.0]


def test_a_generator_that_cannot_last():
    refused(ArgumentError, "good for one pass.*2 epochs", net(), ((X, Y) for _ in range(9)), batch_size=None)


def test_a_validation_generator_that_cannot_last():
    many = ((X, Y) for _ in range(9))
    refused(ArgumentError, "validation data is a generator", net(), validation_data=many)
    once = ((X, Y) for _ in range(3))
    history = net().fit(X, Y, epochs=3, validation_freq=2, validation_data=once, verbose=0).history
    assert len(history["val_loss"]) == 1


def test_a_validation_generator_that_ends_gives_no_more_values():
    few = ((X, Y) for _ in range(4))
    with pytest.warns(UserWarning, match="ran out in the validation: 0 of 2"):
        history = net().fit(X, Y, epochs=3, validation_steps=2, validation_data=few, verbose=0).history
    assert len(history["val_loss"]) == 2 and len(history["loss"]) == 3


def test_there_is_no_loss_of_a_generator_that_has_ended():
    model, once = net(), ((X, Y) for _ in range(2))
    assert model.evaluate(once, verbose=0) > 0
    for method in (model.evaluate, model.predict):
        with pytest.raises(DataError, match="gave no batch"):
            method(once, verbose=0)


# --- callbacks


@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("{epoch}-{val_acc:.1f}.kernelearn", {"validation_split": 0.2}),
        ("{epoch}-{val_loss:.1f}.kernelearn", {}),
        ("{epoch}-{val_loss:.1f}.kernelearn", {"validation_split": 0.2, "validation_freq": 2}),
        ("{batch}.kernelearn", {}),
        ("{loss:d}.kernelearn", {}),
        ("{learning_rate}.kernelearn", {}),
    ],
)
def test_fields_of_a_file_name(tmp_path, path, options):
    counting = LambdaCallback(on_train_batch_end=lambda batch, logs: None)
    refused(
        ArgumentError, "filepath", net(), callbacks=[counting, ModelCheckpoint(tmp_path / path)], **options
    )
    assert list(tmp_path.iterdir()) == []


def test_fields_that_there_are(tmp_path):
    callbacks = [
        LearningRateScheduler(lambda epoch: 0.01),
        ModelCheckpoint(tmp_path / "{epoch}-{val_loss:.1f}-{learning_rate}.kernelearn"),
        ModelCheckpoint(tmp_path / "b{batch}-{loss:.1f}.kernelearn", save_freq=10),
    ]
    net().fit(X, Y, batch_size=2, validation_data=(X, Y), verbose=0, callbacks=callbacks)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_field_that_another_callback_adds(tmp_path):
    class Adds(Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["mine"] = 7

    net().fit(X, Y, verbose=0, callbacks=[Adds(), ModelCheckpoint(tmp_path / "{mine}.kernelearn")])
    assert (tmp_path / "7.kernelearn").exists()


def test_a_model_that_cannot_be_saved(tmp_path):
    model = net(optimizer=optimizers.SGD(lambda step: 0.1))
    refused(ArgumentError, "cannot be saved", model, callbacks=[ModelCheckpoint(tmp_path / "m.kernelearn")])


@pytest.mark.parametrize("callback", [EarlyStopping, ReduceLROnPlateau])
def test_a_direction_that_nobody_can_tell(callback):
    model = net(metrics=[metrics.MeanMetricWrapper(lambda y_true, y_pred: y_true, name="score")])
    refused(ArgumentError, "grow or shrink", model, callbacks=[callback("score")])


def test_a_value_that_will_not_be_there_is_told_once():
    with pytest.warns(UserWarning, match="watches 'val_loss'") as heard:
        net().fit(X, Y, epochs=3, verbose=0, callbacks=[EarlyStopping()])
    assert len(texts(heard)) == 1


def test_a_metric_with_a_value_for_each_class_has_no_best():
    model = net(loss="categorical_crossentropy", metrics=[metrics.F1Score()])
    refused(ArgumentError, "3 values", model, X, np.eye(3)[Y], callbacks=[EarlyStopping("f1_score")])


# --- numbers of steps


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"steps_per_epoch": 10}, "steps_per_epoch=10, but the data has 4"),
        ({"validation_data": (X, Y), "validation_steps": 9}, "validation_steps=9, but the data has 4"),
    ],
)
def test_more_steps_than_the_data_has(options, what):
    model = net()
    with pytest.warns(UserWarning, match=what):
        model.fit(X, Y, batch_size=5, epochs=2, verbose=0, **options)
    assert model.optimizer.iterations == 8


@pytest.mark.parametrize("method", ["evaluate", "predict"])
def test_more_steps_than_the_data_has_elsewhere(method):
    data = (X, Y) if method == "evaluate" else (X,)
    with pytest.warns(UserWarning, match="steps=9, but the data has 4"):
        getattr(net(), method)(*data, batch_size=5, steps=9, verbose=0)


# --- directions that the metric tells


class TestDirections:
    def fit(self, metric, callback, epochs=6, rate=0.05):
        y = RNG.normal(size=(20, 1)).astype("float32")
        model = Sequential([Input((4, 4, 1)), layers.Flatten(), layers.Dense(1)])
        model.compile(optimizers.SGD(rate), "mse", metrics=[metric], engine="reference")
        return model.fit(X, y, epochs=epochs, verbose=0, callbacks=[callback]).history[metric.name]

    def test_an_error_with_accuracy_in_its_name(self):
        stop = EarlyStopping("accuracy_gap", patience=1, restore_best_weights=True)
        history = self.fit(metrics.MeanAbsoluteError(name="accuracy_gap"), stop)
        assert len(history) > 2 and stop.best == min(history)

    def test_a_neutral_name(self):
        stop = EarlyStopping("score")
        history = self.fit(metrics.R2Score(name="score"), stop, rate=0.01)
        assert stop.best == max(history)

    def test_a_similarity_called_a_loss(self, tmp_path):
        keep = ModelCheckpoint(tmp_path / "m.kernelearn", "my_loss", save_best_only=True)
        history = self.fit(metrics.R2Score(name="my_loss"), keep, rate=0.01)
        assert keep.best == max(history)


# --- names of metrics


def test_two_metrics_of_one_name():
    y = (RNG.random(20) > 0.5).astype(int)
    model = Sequential([Input((4, 4, 1)), layers.Flatten(), layers.Dense(1, activation="sigmoid")])
    twice = [metrics.AUC(), metrics.AUC(curve="PR"), metrics.AUC(curve="PR")]
    model.compile("sgd", "binary_crossentropy", metrics=twice, weighted_metrics=["accuracy", metrics.AUC()])
    found = model.evaluate(X, y, verbose=0, return_dict=True)
    assert list(found) == ["loss", "auc", "auc_1", "auc_2", "accuracy", "weighted_auc"]
    p = model.predict(X, verbose=0)[:, 0]
    alone = metrics.AUC(curve="PR")
    assert found["auc_1"] == found["auc_2"] == pytest.approx(alone(y, p)) != found["auc"]
    history = model.fit(X, y, validation_data=(X, y), verbose=0).history
    assert {"auc_1", "val_auc_1", "val_weighted_auc"} <= set(history)


def test_a_weighted_metric_beside_the_plain_one():
    model = Sequential([Input((1,)), layers.Dense(1, kernel_initializer="zeros")])
    model.compile("sgd", "mse", metrics=["mae"], weighted_metrics=["mae"])
    y, weight = np.arange(8.0)[:, None], np.array([0, 0, 0, 0, 1, 1, 1, 3.0])
    found = model.evaluate(np.zeros((8, 1)), y, sample_weight=weight, verbose=0, return_dict=True)
    assert found == {"loss": 28.0, "mae": 3.5, "weighted_mae": 6.0}


def test_one_metric_object_for_two_outputs_counts_each_by_itself():
    i = Input((2,))
    model = Model(i, [layers.Dense(1, kernel_initializer="zeros", name=n)(i) for n in "ab"])
    model.compile("sgd", "mse", metrics=[[mae := metrics.MeanAbsoluteError()], [mae]])
    ones = np.ones((4, 1))
    found = model.evaluate(np.zeros((4, 2)), [ones, 3 * ones], verbose=0, return_dict=True)
    assert found["a_mean_absolute_error"] == 1.0 and found["b_mean_absolute_error"] == 3.0


@pytest.mark.parametrize("names", [["loss"], ["val_loss"], ["mae", "val_mae"]])
def test_names_that_stand_for_something_else(names):
    with pytest.raises(ArgumentError, match="the name of another value"):
        net(metrics=[metrics.SparseCategoricalAccuracy(name=name) for name in names])


@pytest.mark.parametrize("family", ["metrics", "weighted_metrics", "loss", "loss_weights"])
def test_outputs_that_there_are_not(family):
    i = Input((2,))
    model = Model(i, [layers.Dense(1, name=n)(i) for n in "pq"])
    values = {"loss": {"c": "mse"}, "loss_weights": {"c": 1.0}}.get(family, {"c": ["mae"]})
    with pytest.raises(ArgumentError, match=rf"{family} names outputs \['c'\]"):
        model.compile("sgd", **{"loss": "mse", family: values})
