"""The estimators on real images: in pipelines, copied, pickled, with weights and early stopping."""

import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn")
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from kernelearn import CNNClassifier, CNNRegressor, Sequential, layers
from kernelearn.errors import ArgumentError, ShapeError, UnknownNameError
from kernelearn.models import zoo


@pytest.fixture(scope="module")
def digits():
    bunch = load_digits()
    rows = np.random.default_rng(0).permutation(len(bunch.target))[:600]
    return bunch.images[rows], bunch.target[rows]


def small(input_shape, classes):
    return Sequential(
        [
            layers.Conv2D(8, 3, activation="relu", input_shape=input_shape),
            layers.Flatten(),
            layers.Dense(classes, activation="softmax"),
        ]
    )


def test_learns_digits_and_gives_labels_back(digits):
    images, target = digits
    names = np.array(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])[target]
    model = CNNClassifier(epochs=10, random_state=0).fit(images[:450], names[:450])
    assert model.score(images[450:], names[450:]) > 0.9
    assert set(model.classes_) == set(names)
    proba = model.predict_proba(images[450:])
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    np.testing.assert_array_equal(model.classes_[proba.argmax(axis=1)], model.predict(images[450:]))
    assert len(model.history_["loss"]) == 10


def test_rows_with_image_shape_are_the_same_images(digits):
    images, target = digits
    flat = images.reshape(len(images), -1)
    one = CNNClassifier(epochs=2, random_state=0).fit(images, target)
    two = CNNClassifier(epochs=2, random_state=0, image_shape=(8, 8)).fit(flat, target)
    three = CNNClassifier(epochs=2, random_state=0).fit(images[..., None], target)
    assert two.image_shape_ == three.image_shape_ == (8, 8, 1)
    np.testing.assert_array_equal(one.predict_proba(images), two.predict_proba(flat))
    np.testing.assert_array_equal(one.predict_proba(images), three.predict_proba(images[..., None]))


def test_same_seed_same_network_and_numpy_left_alone(digits):
    images, target = digits
    np.random.seed(3)  # noqa: NPY002
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(3)  # noqa: NPY002
    probabilities = [
        CNNClassifier(small, epochs=1, random_state=seed).fit(images, target).predict_proba(images[:5])
        for seed in (0, 0, 1)
    ]
    assert np.random.random() == expected  # noqa: NPY002
    np.testing.assert_array_equal(probabilities[0], probabilities[1])
    assert not np.array_equal(probabilities[0], probabilities[2])


def test_pipeline_and_grid_search(digits):
    images, target = digits
    flat = images.reshape(len(images), -1)[:200]
    pipeline = make_pipeline(MinMaxScaler(), CNNClassifier(small, image_shape=(8, 8), random_state=0))
    search = GridSearchCV(pipeline, {"cnnclassifier__epochs": [1, 8]}, cv=2).fit(flat, target[:200])
    assert search.best_params_ == {"cnnclassifier__epochs": 8}
    assert cross_val_score(CNNClassifier(small, epochs=1), images[:60], target[:60], cv=2).shape == (2,)


def test_pickle_and_clone(digits):
    images, target = digits
    model = CNNClassifier("lenet", epochs=1, random_state=0).fit(images, target)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(images[:9]), model.predict_proba(images[:9]))
    assert not hasattr(clone(model), "model_")


def test_a_model_given_is_copied_with_its_weights(digits):
    images, target = digits
    given = zoo.lenet((8, 8, 1), 10)
    before = given.get_weights()
    model = CNNClassifier(given, epochs=1).fit(images, target)
    assert all(np.array_equal(x, y) for x, y in zip(before, given.get_weights()))
    assert not np.array_equal(before[0], model.model_.get_weights()[0])
    assert clone(model).fit(images, target).score(images, target) > 0.1


def test_early_stopping_holds_rows_out(digits):
    images, target = digits
    model = CNNClassifier(small, epochs=200, patience=1, learning_rate=0.02, random_state=0).fit(
        images, target
    )
    assert len(model.history_["val_loss"]) < 200


def test_weights_of_rows_and_classes_matter(digits):
    images, target = digits
    images, target = images[target < 2], target[target < 2]
    noise = np.random.default_rng(0).normal(scale=30, size=images.shape)
    shares = []
    for options, weight in (
        ({}, None),
        ({"class_weight": {0: 100.0, 1: 0.01}}, None),
        ({}, np.where(target == 0, 100.0, 0.01)),
    ):
        model = CNNClassifier(small, epochs=5, random_state=0, **options)
        model.fit(images + noise, target, sample_weight=weight)
        shares.append((model.predict(images + noise[::-1]) == 0).mean())
    assert shares[1] == shares[2] > shares[0]
    balanced = CNNClassifier(small, epochs=5, class_weight="balanced", random_state=0).fit(images, target)
    assert balanced.score(images, target) > 0.9


def test_optimizer_object_is_not_shared_between_fits(digits):
    from kernelearn.optimizers import Adam

    images, target = digits
    model = CNNClassifier(small, epochs=1, optimizer=Adam(0.01), random_state=0)
    first = model.fit(images, target).predict_proba(images[:5])
    np.testing.assert_array_equal(first, model.fit(images, target).predict_proba(images[:5]))
    assert model.optimizer.iterations == 0


def test_regressor_with_one_and_two_targets(digits):
    images, _ = digits
    targets = np.stack([images[:, :4].mean(axis=(1, 2)), 1000 + 50 * images[:, 4:].mean(axis=(1, 2))], axis=1)
    both = CNNRegressor(epochs=25, random_state=0).fit(images[:450], targets[:450])
    assert both.predict(images[450:]).shape == (150, 2)
    assert both.score(images[450:], targets[450:]) > 0.9
    one = CNNRegressor(epochs=2, loss="huber", random_state=0).fit(images, targets[:, 0])
    assert one.predict(images).shape == (600,)
    again = pickle.loads(pickle.dumps(one))
    np.testing.assert_array_equal(again.predict(images), one.predict(images))


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"model": "lenett"}, UnknownNameError, "Did you mean 'lenet'"),
        ({"model": 3}, ArgumentError, "name, a function or a Model"),
        ({"model": lambda shape, classes: None}, ArgumentError, "must return a Model"),
        ({"model": zoo.lenet((8, 8, 1), 3)}, ShapeError, "these X and y need"),
        ({"image_shape": (4, 4)}, ShapeError, "image_shape"),
        ({"epochs": 0}, ArgumentError, "epochs must be"),
        ({"batch_size": 2.5}, ArgumentError, "batch_size must be"),
        ({"learning_rate": 0.0}, ArgumentError, "learning_rate must be"),
        ({"patience": 1, "validation_fraction": 1.0}, ArgumentError, "validation_fraction must be"),
    ],
)
def test_refusals(digits, options, error, says):
    images, target = digits
    with pytest.raises(error, match=says):
        CNNClassifier(**options).fit(images, target)


def test_other_images_than_fitted_are_refused(digits):
    images, target = digits
    model = CNNClassifier(small, epochs=1).fit(images, target)
    with pytest.raises(ShapeError, match="fitted to"):
        model.predict(images[:, :, :6])
