"""Few-shot classification with a pretrained network: does learning the weights of its layers pay?

For every seed the classes are halved. A network learns the one half and is frozen; of the other half it gets
a few images per class, and every method has to tell the rest apart. Nothing is tuned on what is scored.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from kernelearn import config
from kernelearn.errors import ArgumentError, DataError
from kernelearn.kernel_machines.estimators.feature_kernels import FeatureKernels, KernelHead, pooled
from kernelearn.kernel_machines.estimators.network_adapter import activations

LEARNED, UNIFORM, BEST = "learned weights", "uniform sum", "best layer"
CONCATENATION, LAST, FINE_TUNING = "all layers, logistic", "last layer, logistic", "fine-tuning"
METHODS = (LEARNED, UNIFORM, BEST, CONCATENATION, LAST, FINE_TUNING)


@dataclass(frozen=True)
class FewShotSettings:
    """What is fixed before the experiment.

    Args:
        shots: images of each new class that are learned from.
        seeds: number of repetitions; each has its own classes, initial weights and images.
        network: name in `kernelearn.models.zoo`.
        epochs: of pretraining, with Adam at its default learning rate.
        pretrain_images: at most so many images of the first half of the classes.
        test_images: at most so many images of each half to score on.
        C: of the support vector machines and logistic regressions.
        fine_tune_epochs: of fine-tuning, batches of 16, Adam.
    """

    shots: tuple[int, ...] = (1, 2, 5, 10)
    seeds: int = 5
    network: str = "lenet"
    epochs: int = 5
    pretrain_images: int = 2000
    test_images: int = 500
    C: float = 10.0
    fine_tune_epochs: int = 30

    def __post_init__(self) -> None:
        counts = {name: value for name, value in asdict(self).items() if name not in ("shots", "network")}
        for name, value in counts.items():
            if value <= 0:
                raise ArgumentError(f"{name} must be above 0, got {value}.")
        if not self.shots or min(self.shots) < 1:
            raise ArgumentError(f"shots must be numbers of images from 1 on, got {list(self.shots)}.")


@dataclass
class FewShotResult:
    """What came out.

    Attributes:
        accuracy: method -> (n_shots, n_seeds) shares of the test images of the new classes; NaN where a
            method cannot be used (the best layer is chosen by cross-validation and needs two shots).
        importance: layer -> (n_shots, n_seeds) learned weights, summing to one over the layers.
        pretrained: accuracy of every pretrained network on held-out images of its own classes.
        new_classes: number of classes to tell apart: chance is its inverse.
    """

    settings: FewShotSettings
    new_classes: int
    accuracy: dict[str, np.ndarray] = field(default_factory=dict)
    importance: dict[str, np.ndarray] = field(default_factory=dict)
    pretrained: list[float] = field(default_factory=list)

    def gain(self, over: str = UNIFORM) -> tuple[np.ndarray, np.ndarray]:
        """(n_shots,) mean and standard error over seeds of what learning the weights gains, in accuracy."""
        difference = self.accuracy[LEARNED] - self.accuracy[over]
        return difference.mean(axis=1), spread(difference) / np.sqrt(difference.shape[1])

    def to_dict(self) -> dict[str, Any]:
        """Settings and every single accuracy as plain values, NaN as None."""
        return {
            "settings": asdict(self.settings),
            "new_classes": self.new_classes,
            "pretrained_accuracy": self.pretrained,
            "accuracy": {name: _plain(values) for name, values in self.accuracy.items()},
            "layer_importance": {name: _plain(values) for name, values in self.importance.items()},
            "gain_over_uniform": dict(zip(("mean", "standard_error"), map(_plain, self.gain()))),
        }


def spread(values: np.ndarray) -> np.ndarray:
    """(n_shots,) standard deviation over seeds, NaN for a single seed."""
    return values.std(axis=1, ddof=1) if values.shape[1] > 1 else np.full(len(values), np.nan)


def few_shot_experiment(
    images: np.ndarray,
    labels: np.ndarray,
    settings: FewShotSettings | None = None,
    progress: Callable[[str], None] | None = None,
) -> FewShotResult:
    """Compare a `KernelHead` with its baselines on new classes, for several seeds.

    Args:
        images: (n, h, w, c) floats. labels: (n,) class numbers, at least four classes.
        settings: None for the defaults.
        progress: called with a line after each seed.
    Raises: DataError for too few classes or images.

    Sets the random seed of the process.
    """
    chosen = settings or FewShotSettings()
    classes = np.unique(labels)
    _check_data(labels, classes, chosen)
    result = FewShotResult(chosen, new_classes=len(classes) - len(classes) // 2)
    result.accuracy = {name: np.full((len(chosen.shots), chosen.seeds), np.nan) for name in METHODS}
    for seed in range(chosen.seeds):
        order = np.random.default_rng(seed).permutation(classes)
        old, new = order[: len(order) // 2], order[len(order) // 2 :]
        network, accuracy = _pretrain(images, labels, old, seed, chosen)
        result.pretrained.append(accuracy)
        episode = _episode(network, images, labels, new, seed, chosen)
        for number, shots in enumerate(chosen.shots):
            _score(episode, shots, (number, seed), result)
        if progress is not None:
            progress(f"seed {seed + 1} of {chosen.seeds}: pretrained to {accuracy:.1%} on its own classes")
    return result


def _check_data(labels: np.ndarray, classes: np.ndarray, settings: FewShotSettings) -> None:
    if len(classes) < 4:
        raise DataError(
            f"The experiment halves the classes and needs at least 4; the data has {len(classes)}."
        )
    least = min(int(np.sum(labels == one)) for one in classes)
    if least <= max(settings.shots):
        raise DataError(
            f"With {max(settings.shots)} shots every class needs more images than that to score on; "
            f"the smallest has {least}. Ask for fewer shots."
        )


def _pretrain(
    images: np.ndarray, labels: np.ndarray, classes: np.ndarray, seed: int, settings: FewShotSettings
) -> tuple[Any, float]:
    """A frozen network that knows `classes`, and its accuracy on other images of them."""
    from kernelearn.models import zoo

    config.set_random_seed(seed)
    rows = np.random.default_rng([seed, 1]).permutation(np.flatnonzero(np.isin(labels, classes)))
    held_out = min(settings.test_images, len(rows) // 5)
    test, train = np.split(rows, [held_out])
    train = train[: settings.pretrain_images]
    network = zoo.get(settings.network)(images.shape[1:], len(classes))
    network.compile("adam", "sparse_categorical_crossentropy")
    network.fit(
        images[train], _numbered(labels[train], classes), batch_size=32, epochs=settings.epochs, verbose=0
    )
    predicted = network.predict(images[test], verbose=0).argmax(axis=1)
    network.freeze()
    return network, float(np.mean(predicted == _numbered(labels[test], classes)))


def _numbered(labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Labels as places in `classes`."""
    return np.asarray(np.argmax(labels[:, None] == classes, axis=1))


@dataclass(frozen=True)
class _Episode:
    """Images of the new classes, those to learn from first.

    Attributes:
        support: (n_classes, max_shots) places of the images to learn from; test: (n_test,) of the others.
        maps: layer -> (n, d) pooled activations of all of them.
    """

    network: Any
    images: np.ndarray
    labels: np.ndarray
    maps: dict[str, np.ndarray]
    support: np.ndarray
    test: np.ndarray

    def lookup(self, places: np.ndarray, layers: Any = None) -> dict[str, np.ndarray]:
        """The network as a function of places (n, 1), so that every image passes through it once."""
        return {name: values[places[:, 0]] for name, values in self.maps.items()}


def _episode(
    network: Any,
    images: np.ndarray,
    labels: np.ndarray,
    classes: np.ndarray,
    seed: int,
    settings: FewShotSettings,
) -> _Episode:
    rng = np.random.default_rng([seed, 2])
    of_class = [rng.permutation(np.flatnonzero(labels == one)) for one in classes]
    shots = max(settings.shots)
    others = rng.permutation(np.concatenate([rows[shots:] for rows in of_class]))[: settings.test_images]
    rows = np.concatenate([*[rows[:shots] for rows in of_class], others])
    names = [layer.name for layer in network.layers[:-1]]
    maps = activations(network, images[rows], names, batch_size=256)
    return _Episode(
        network,
        images[rows],
        _numbered(labels[rows], classes),
        {name: pooled(values, "mean") for name, values in maps.items()},
        support=np.arange(len(classes) * shots).reshape(len(classes), shots),
        test=np.arange(len(classes) * shots, len(rows)),
    )


def _score(episode: _Episode, shots: int, place: tuple[int, int], result: FewShotResult) -> None:
    """Enter the accuracies of all methods, and the learned weights, at (number of shots, seed)."""
    settings = result.settings
    train = episode.support[:, :shots].ravel()
    y, truth = episode.labels[train], episode.labels[episode.test]
    x, x_test = train[:, None], episode.test[:, None]

    def head(weights: str) -> KernelHead:
        options: dict[str, Any] = {"C": settings.C, "cv": min(5, shots), "random_state": 0}
        return KernelHead(episode.lookup, weights=weights, **options).fit(x, y)

    learned = head("learned")
    features: FeatureKernels = learned.features_
    z, z_test = features.transform(x), features.transform(x_test)
    last = features.blocks_[-1]
    predictions = {
        LEARNED: learned.predict(x_test),
        UNIFORM: head("uniform").predict(x_test),
        CONCATENATION: _logistic(z, y, z_test, settings.C),
        LAST: _logistic(z[:, last], y, z_test[:, last], settings.C),
        FINE_TUNING: _fine_tuned(episode, train, settings),
    }
    if shots > 1:
        predictions[BEST] = head("best").predict(x_test)
    for name, values in predictions.items():
        result.accuracy[name][place] = np.mean(values == truth)
    for name, weight in learned.layer_importance_.items():
        result.importance.setdefault(name, np.zeros((len(settings.shots), settings.seeds)))[place] = weight


def _logistic(x: np.ndarray, y: np.ndarray, x_test: np.ndarray, C: float) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression

    return np.asarray(LogisticRegression(C=C, max_iter=1000).fit(x, y).predict(x_test))


def _fine_tuned(episode: _Episode, train: np.ndarray, settings: FewShotSettings) -> np.ndarray:
    """Predicted classes of the test images by a copy of the network with a new head, trained as a whole."""
    network = episode.network.clone().replace_head(len(episode.support))
    network.unfreeze()
    network.compile("adam", "sparse_categorical_crossentropy")
    network.fit(
        episode.images[train],
        episode.labels[train],
        batch_size=16,
        epochs=settings.fine_tune_epochs,
        verbose=0,
    )
    return np.asarray(network.predict(episode.images[episode.test], verbose=0).argmax(axis=1))


def _plain(values: np.ndarray) -> list:
    return np.where(np.isnan(values), None, values).tolist()  # type: ignore[call-overload]
