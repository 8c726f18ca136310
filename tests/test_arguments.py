"""Arguments of every declared class: misspelt names, values of the wrong kind, and what the config holds."""

import json

import numpy as np
import pytest

from kernelearn import callbacks, constraints, initializers, layers, losses, metrics, optimizers, regularizers
from kernelearn import schedules as S
from kernelearn._configurable import Configurable, arguments_of
from kernelearn.errors import ArgumentError, ArgumentTypeError, UnknownNameError
from kernelearn.layers.core.base import LAYERS
from kernelearn.losses.base import LOSSES
from kernelearn.metrics.base import METRICS
from kernelearn.optimizers.base import OPTIMIZERS
from kernelearn.registry import Registry

FAMILIES = (layers, losses, metrics, optimizers, initializers, constraints, regularizers, S)
CLASSES = sorted(
    {
        value
        for family in FAMILIES
        for value in vars(family).values()
        if isinstance(value, type) and issubclass(value, Configurable)
        if value is not metrics.MeanMetricWrapper  # its further arguments are those of its function
    },
    key=lambda cls: (cls.__module__, cls.__name__),
)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: f"{cls.__module__}.{cls.__name__}")
def test_a_name_that_a_class_does_not_have_is_refused_by_all(cls):
    with pytest.raises(ArgumentTypeError, match=f"{cls.__name__} has no argument 'nonsense'"):
        cls(nonsense=1)


@pytest.mark.parametrize(
    ("make", "meant"),
    [
        (lambda: layers.Conv2D(8, 3, stride=2), "strides"),
        (lambda: layers.Conv2D(8, 3, activations="relu"), "activation"),
        (lambda: layers.SeparableConv2D(8, 3, depth_mutiplier=2), "depth_multiplier"),
        (lambda: layers.Dense(3, nam="x"), "name"),
        (lambda: layers.RandomFlip(mod="vertical"), "mode"),
        (lambda: losses.Huber(delat=2.0), "delta"),
        (lambda: losses.BinaryCrossentropy(from_logit=True), "from_logits"),
        (lambda: metrics.AUC(num_threshold=3), "num_thresholds"),
        (lambda: optimizers.Adam(lr=0.1), "learning_rate"),
        (lambda: optimizers.SGD(0.1, momentun=0.9), "momentum"),
        (lambda: initializers.RandomNormal(std=1.0), "stddev"),
    ],
)
def test_the_argument_that_was_meant_is_named(make, meant):
    with pytest.raises(ArgumentError, match=f"Did you mean.*'{meant}'"):
        make()
    with pytest.raises(TypeError):
        make()


def test_an_own_layer_may_take_its_options_out_of_a_dict():
    class Mine(layers.Layer):
        def __init__(self, **options):
            self.size = options.pop("size")
            super().__init__(**options)

    assert Mine(size=3, name="m").size == 3
    with pytest.raises(ArgumentError, match=r"Mine has no argument 'trainabel'\. Did you mean 'trainable'"):
        Mine(size=3, trainabel=False)


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.ReLU(negative_slope=None),
        lambda: layers.ReLU(threshold=None),
        lambda: layers.LeakyReLU(negative_slope=None),
        lambda: layers.LeakyReLU(negative_slope=-0.1),
        lambda: layers.ELU(alpha="1"),
        lambda: layers.Dropout("0.5"),
        lambda: layers.Dropout(float("nan")),
        lambda: layers.Dropout(0.5, noise_shape="Invalid"),
        lambda: layers.Dropout(0.5, noise_shape=(20, 1.5, 10)),
        lambda: layers.Dropout(0.5, noise_shape=(20, -1, 10)),
        lambda: layers.Dropout(0.5, noise_shape=(20, 0, 10)),
        lambda: layers.GaussianNoise(None),
        lambda: layers.GroupNormalization(groups=0),
        lambda: layers.GroupNormalization(groups=-2),
        lambda: layers.GroupNormalization(groups=1.5),
        lambda: layers.GroupNormalization(groups="32"),
        lambda: layers.BatchNormalization(axis=1.5),
        lambda: layers.BatchNormalization(momentum=None),
        lambda: layers.LayerNormalization(axis={"axis": -1}),
        lambda: layers.LayerNormalization(axis=(1, 1.5)),
        lambda: layers.Softmax(axis="a"),
        lambda: layers.Concatenate(axis=1.5),
        lambda: layers.Reshape((-2, 5)),
        lambda: layers.Reshape((2.5, 2)),
        lambda: layers.Permute((1, "a")),
        lambda: layers.Cropping1D((1,)),
        lambda: layers.ZeroPadding1D((1,)),
        lambda: layers.UpSampling1D(size=(2, 2)),
        lambda: layers.PReLU(shared_axes=1.5),
        lambda: layers.Rescaling("a"),
        lambda: layers.Resizing(2.5, 2),
        lambda: layers.Flatten(data_format=3),
        lambda: losses.Huber(None),
        lambda: losses.BinaryFocalCrossentropy(gamma=None),
        lambda: losses.CategoricalCrossentropy(label_smoothing="a"),
        lambda: losses.MeanSquaredError(dtype="float16"),
        lambda: metrics.FBetaScore(beta=None),
        lambda: metrics.FBetaScore(beta="1.0"),
        lambda: metrics.FBetaScore(threshold="1"),
        lambda: metrics.TopKCategoricalAccuracy(k=1.5),
        lambda: metrics.BinaryAccuracy(threshold=None),
        lambda: metrics.Precision(thresholds="a"),
        lambda: metrics.Precision(top_k=0),
        lambda: metrics.Precision(class_id=-1),
        lambda: metrics.AUC(num_thresholds=None),
        lambda: metrics.AUC(thresholds=[2.0]),
        lambda: metrics.R2Score(num_regressors=1.5),
        lambda: optimizers.SGD(momentum=None),
        lambda: optimizers.Adam(beta_1="a"),
        lambda: optimizers.Adam(gradient_accumulation_steps=1),
        lambda: optimizers.Adam(ema_overwrite_frequency=10),
        lambda: optimizers.Adam(use_ema=True, ema_momentum=1.5),
        lambda: S.ExponentialDecay("a", 10, 0.5),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_when_the_object_is_made(make):
    with pytest.raises(ArgumentError, match=r"got|not supported"):
        make()


def test_numbers_of_numpy_are_taken_and_become_plain():
    made = [
        layers.Dense(np.int64(3)),
        layers.Conv2D(np.int32(4), np.int64(3), groups=np.uint8(2)),
        layers.Reshape(np.array([2, -1])),
        layers.Dropout(np.float32(0.5), seed=np.int64(7)),
        layers.GroupNormalization(np.int64(2), axis=np.int64(-1)),
        layers.RandomRotation(np.float64(0.25)),
        layers.Input((np.int64(3),)).node.layer,
        losses.Huber(np.float64(2.0)),
        metrics.TopKCategoricalAccuracy(np.int64(3)),
        metrics.ConfusionMatrix(np.int64(3)),
        optimizers.Adam(np.float32(0.5), beta_1=np.float64(0.8)),
    ]
    for one in made:
        json.dumps(one.get_config())


@pytest.mark.parametrize(
    "make",
    [
        lambda: metrics.MeanSquaredError(dtype="float32"),
        lambda: metrics.AUC(dtype="float32"),
        lambda: losses.BinaryCrossentropy(dtype="float32"),
        lambda: optimizers.Adam(loss_scale_factor=1024.0, jit_compile=True),
        lambda: layers.Dense(3, autocast=True, lora_rank=None),
        lambda: layers.BatchNormalization(synchronized=False),
    ],
)
def test_arguments_of_keras_that_change_nothing_are_taken_and_not_kept(make):
    made = make()
    assert not {"dtype", "loss_scale_factor", "autocast"} & set(made.get_config()) - {
        "dtype" if isinstance(made, layers.Layer) else ""
    }


def test_a_class_says_which_arguments_it_has():
    own = arguments_of(layers.Conv2DTranspose).kinds
    assert {"filters", "output_padding", "name", "learning_rate_multiplier"} <= set(own)
    assert "autocast" not in own and "beta" not in arguments_of(metrics.F1Score).kinds
    assert "loss" not in arguments_of(metrics.MeanSquaredError).kinds


def test_an_argument_that_is_lost_is_told_when_the_class_is_registered():
    registry = Registry("loss")

    class Forgets(losses.Loss):
        def __init__(self, margin, name=None):
            super().__init__(name)
            self.shift = margin

    class Keeps(losses.Loss):
        def __init__(self, margin, name=None):
            super().__init__(name)
            self.margin = margin

    class SaysItself(Forgets):
        def get_config(self):
            return {**super().get_config(), "margin": self.shift}

    with pytest.raises(ArgumentError, match="Forgets does not keep its argument 'margin'"):
        registry.register(Forgets)
    registry.register(Keeps, "keeps")
    registry.register(SaysItself)
    assert registry.get(registry.serialize(SaysItself(3))).shift == 3
    assert registry.get({"class_name": "keeps", "config": {"margin": 2}}).margin == 2


def test_the_names_of_the_package_are_taken():
    class Huber(losses.Loss):
        pass

    with pytest.raises(ArgumentError, match="There is a loss called Huber"):
        LOSSES.register(Huber)
    assert type(losses.get("huber")) is losses.Huber


def test_every_layer_keeps_all_its_arguments_in_its_config():
    """A name in the signature that is not in the config would come back as its default."""
    for cls in {type(make()) for make in (lambda: layers.Dense(3), lambda: layers.SeparableConv2D(3, 2))}:
        made = cls(**{"units": 3} if cls is layers.Dense else {"filters": 3, "kernel_size": 2})
        rest = set(arguments_of(cls).kinds) - set(made.get_config())
        assert rest == {"input_shape", "activity_regularizer", "learning_rate_multiplier"}


@pytest.mark.parametrize(
    ("registry", "config", "cls"),
    [
        (OPTIMIZERS, {"class_name": "adam", "config": {"beta_1": 0.5}}, optimizers.Adam),
        (OPTIMIZERS, {"class_name": "SGD", "config": {}}, optimizers.SGD),
        (LOSSES, {"class_name": "huber", "config": {}}, losses.Huber),
        (LOSSES, {"class_name": "meansquarederror", "config": None}, losses.MeanSquaredError),
        (METRICS, {"class_name": "auc", "config": {}}, metrics.AUC),
        (LAYERS, {"class_name": "dense", "config": {"units": 2}}, layers.Dense),
        (LAYERS, {"class_name": "maxpool2d", "config": {}}, layers.MaxPooling2D),
    ],
)
def test_configs_may_name_classes_in_small_letters(registry, config, cls):
    assert type(registry.get(config)) is cls


@pytest.mark.parametrize(
    "get", [optimizers.get, losses.get, metrics.get, initializers.get, layers.LAYERS.get]
)
def test_unknown_names_list_every_known_name_once(get):
    with pytest.raises(UnknownNameError) as caught:
        get("no such thing at all")
    listed = str(caught.value).partition("Known: ")[2].rstrip(".").split(", ")
    spelled = [name.lower().replace("_", "") for name in listed]
    assert len(listed) > 5 and len(set(spelled)) == len(spelled)


def test_why_something_cannot_be_saved_is_known_without_saving():
    class Unregistered(losses.Loss):
        pass

    class NoJson(layers.Layer):
        def __init__(self, table, **options):
            super().__init__(**options)
            self.table = table

    registry = Registry("layer")
    registry.register(NoJson)
    assert LOSSES.why_not_saved(losses.Huber()) is None and LOSSES.why_not_saved(None) is None
    assert "@LOSSES.register()" in LOSSES.why_not_saved(Unregistered())
    assert registry.why_not_saved(NoJson([1, 2])) is None
    assert "get_config" in registry.why_not_saved(NoJson({1, 2}))
    assert "function" in OPTIMIZERS.why_not_saved(optimizers.SGD(lambda: 0.5))


def test_callbacks_are_told_too():
    with pytest.raises(TypeError, match=r"no argument 'pacience'\. Did you mean 'patience'"):
        callbacks.EarlyStopping(pacience=3)
