"""Thirty small networks with every kind of layer between a number and the loss, for the tests of passes."""

from collections.abc import Callable

from kernelearn import Input, Model, config
from kernelearn import layers as L

Body = Callable[[object], object]


def chain(*stack: object) -> Body:
    """Layers one behind the other."""

    def through(x: object) -> object:
        for layer in stack:
            x = layer(x)
        return x

    return through


def residual(x: object) -> object:
    first = L.ReLU()(L.BatchNormalization()(L.Conv2D(4, 3, padding="same", name="c")(x)))
    second = L.BatchNormalization()(L.Conv2D(4, 3, padding="same", name="b")(first))
    return L.GlobalAveragePooling2D()(L.ReLU()(L.Add()([first, second])))


def dense_block(x: object) -> object:
    first = L.Conv2D(3, 3, padding="same", activation="relu", name="c")(x)
    joined = L.Concatenate()([x, first])
    return L.MaxPooling2D(2)(L.Conv2D(4, 1, activation="tanh", name="b")(joined))


def branches(x: object) -> object:
    wide = L.Conv2D(3, 5, padding="same", activation="relu", name="c")(x)
    small = L.Conv2D(3, 1, activation="sigmoid", name="b")(x)
    pooled = L.MaxPooling2D(3, strides=1, padding="same")(x)
    return L.Conv2D(2, 3, name="e")(L.Concatenate()([wide, small, pooled]))


def squeezed(x: object) -> object:
    maps = L.Conv2D(4, 3, padding="same", activation="relu", name="c")(x)
    gate = L.Dense(4, activation="sigmoid", name="g")(L.GlobalAveragePooling2D()(maps))
    return L.Multiply()([maps, L.Reshape((1, 1, 4))(gate)])


def shared(x: object) -> object:
    layer = L.Conv2D(2, 3, padding="same", activation="tanh", name="c")
    return L.Add()([layer(x), layer(L.AveragePooling2D(3, strides=1, padding="same")(x))])


C1, C2, C3 = (12, 2), (7, 8, 2), (4, 5, 4, 2)
NETWORKS: dict[str, tuple[tuple[int, ...], Callable[[], Body]]] = {
    "1-D": (C1, lambda: chain(L.Conv1D(3, 3, activation="relu", name="c"), L.MaxPooling1D(2))),
    "1-D strided": (C1, lambda: chain(L.Conv1D(3, 3, strides=2, padding="same", name="c"), L.ReLU())),
    "1-D dilated, causal": (C1, lambda: chain(L.Conv1D(3, 3, dilation_rate=2, padding="causal", name="c"))),
    "1-D transposed": (C1, lambda: chain(L.Conv1DTranspose(3, 3, strides=2, activation="relu", name="c"))),
    "1-D depthwise": (C1, lambda: chain(L.DepthwiseConv1D(3, depth_multiplier=2, name="c"))),
    "1-D separable": (C1, lambda: chain(L.SeparableConv1D(4, 3, activation="tanh", name="c"))),
    "2-D": (C2, lambda: chain(L.Conv2D(3, 3, activation="relu", name="c"), L.MaxPooling2D(2))),
    "2-D strided": (C2, lambda: chain(L.Conv2D(3, 3, strides=(2, 3), padding="same", name="c"))),
    "2-D dilated": (C2, lambda: chain(L.Conv2D(3, 2, dilation_rate=(2, 3), activation="gelu", name="c"))),
    "2-D grouped": ((6, 6, 4), lambda: chain(L.Conv2D(6, 3, groups=2, activation="elu", name="c"))),
    "2-D depthwise": (C2, lambda: chain(L.DepthwiseConv2D(3, strides=2, padding="same", name="c"))),
    "2-D separable": (C2, lambda: chain(L.SeparableConv2D(4, 3, padding="same", name="c"), L.ReLU())),
    "2-D transposed": (
        (4, 4, 3),
        lambda: chain(L.Conv2DTranspose(3, 3, strides=2, padding="same", name="c")),
    ),
    "2-D large kernel": (C2, lambda: chain(L.Conv2D(2, 7, padding="same", activation="relu", name="c"))),
    "3-D": (C3, lambda: chain(L.Conv3D(2, 2, activation="relu", name="c"), L.MaxPooling3D(2))),
    "3-D strided": (C3, lambda: chain(L.Conv3D(2, (2, 3, 2), strides=(1, 2, 1), padding="same", name="c"))),
    "3-D transposed": ((3, 2, 3, 2), lambda: chain(L.Conv3DTranspose(2, 2, strides=2, name="c"))),
    "normalised": (
        C2,
        lambda: chain(L.Conv2D(4, 3, use_bias=False, name="c"), L.BatchNormalization(), L.ReLU()),
    ),
    "normalised by layer": (C2, lambda: chain(L.Conv2D(4, 3, name="c"), L.LayerNormalization(), L.ReLU())),
    "overlapping maximum": (
        C2,
        lambda: chain(
            L.Conv2D(3, 2, activation="relu", name="c"), L.MaxPooling2D(3, strides=1, padding="same")
        ),
    ),
    "means": (C2, lambda: chain(L.Conv2D(3, 2, activation="relu", name="c"), L.AveragePooling2D(2))),
    "maximum of all": (C2, lambda: chain(L.Conv2D(3, 2, name="c"), L.GlobalMaxPooling2D())),
    "dropped out": (
        C2,
        lambda: chain(L.Conv2D(3, 3, activation="relu", name="c"), L.Dropout(0.4), L.MaxPooling2D(2)),
    ),
    "pooled before": (C2, lambda: chain(L.Conv2D(3, 2, name="c"), L.MaxPooling2D(2), L.PReLU())),
    "residual": (C2, lambda: residual),
    "dense block": (C2, lambda: dense_block),
    "branches": (C2, lambda: branches),
    "squeezed": (C2, lambda: squeezed),
    "shared": (C2, lambda: shared),
    "dense alone": (
        (9,),
        lambda: chain(L.Dense(6, activation="relu", name="c"), L.Dense(5, activation="swish", name="b")),
    ),
}


def network(name: str, dtype: str) -> Model:
    """A compiled network with three classes; its weights follow from the seed of the caller."""
    shape, make = NETWORKS[name]
    before = config.floatx()
    config.set_floatx(dtype)
    try:
        given = Input(shape)
        end = make()(given)
        end = L.Flatten()(end) if len(end.shape) > 2 else end
        model = Model(given, L.Dense(3, activation="softmax", name="out")(end))
    finally:
        config.set_floatx(before)
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model
