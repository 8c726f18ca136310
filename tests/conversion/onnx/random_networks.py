"""Random convolutional networks that cover every layer and option that converters get wrong.

`network(seed)` is the same network each time.
"""

import numpy as np

from kernelearn import Model, layers

ACTIVATIONS = [
    None, "relu", "gelu", "silu", "mish", "hard_sigmoid", "hard_silu", "elu", "selu", "softplus", "softsign",
    "tanh", "sigmoid", "leaky_relu", "relu6",
]  # fmt: skip


def network(seed):
    """A model of 4 to 9 random layers on small images, with random weights and statistics."""
    random = np.random.default_rng(seed)
    sizes = tuple(int(n) for n in random.integers(7, 13, 2))
    x = layers.Input((*sizes, int(random.integers(1, 5))), name="images")
    y, earlier = x, None
    for number in range(int(random.integers(3, 8))):
        step = STEPS[int(random.integers(len(STEPS)))]
        y = step(random, y, f"layer_{number}")
        if earlier is not None and earlier.shape == y.shape and random.random() < 0.7:
            join = random.choice([layers.Add, layers.Multiply, layers.Maximum, layers.Average])
            y = join(name=f"join_{number}")([y, earlier])
        earlier = y
    y = HEADS[int(random.integers(len(HEADS)))](random, y)
    model = Model(x, y, name=f"random_{seed}")
    randomize(model, random)
    return model


def randomize(model, random):
    """Weights of the size that keeps numbers near one; variances positive."""
    for weight in model.weights:
        fan = max(1, int(np.prod(weight.shape[:-1])))
        values = random.normal(size=weight.shape) / np.sqrt(fan)
        if weight.name.endswith("variance"):
            values = random.uniform(0.5, 2.0, weight.shape)
        elif weight.name.endswith("gamma"):
            values = random.uniform(0.5, 1.5, weight.shape)
        weight.assign(values.astype(np.float32))


def images(model, seed, count=3):
    return np.random.default_rng(seed + 1).normal(size=(count, *model.input_shape[1:])).astype(np.float32)


def _window(random, y, largest=3):
    """Kernel size, strides and dilation that fit the map."""
    kernel = tuple(int(min(random.integers(1, largest + 1), n)) for n in y.shape[1:3])
    if random.random() < 0.3 and all((k - 1) * 2 + 1 <= n for k, n in zip(kernel, y.shape[1:3])):
        return kernel, 1, 2
    return kernel, (tuple(int(s) for s in random.integers(1, 3, 2)) if min(y.shape[1:3]) > 4 else 1), 1


def _conv(random, y, name):
    kernel, strides, dilation = _window(random, y)
    channels = y.shape[-1]
    groups = int(random.choice([g for g in (1, 2, 4) if channels % g == 0]))
    return layers.Conv2D(
        groups * int(random.integers(1, 4)),
        kernel,
        strides=strides,
        dilation_rate=dilation,
        padding=str(random.choice(["same", "valid"])),
        groups=groups,
        use_bias=bool(random.random() < 0.7),
        activation=random.choice(ACTIVATIONS),
        name=name,
    )(y)


def _depthwise(random, y, name):
    kernel, strides, dilation = _window(random, y)
    strides = strides if isinstance(strides, int) else strides[0]
    cls = random.choice([layers.DepthwiseConv2D, layers.SeparableConv2D])
    more = {"filters": 3} if cls is layers.SeparableConv2D else {}
    return cls(
        kernel_size=kernel,
        strides=strides,
        dilation_rate=dilation,
        padding=str(random.choice(["same", "valid"])),
        depth_multiplier=int(random.integers(1, 3)),
        name=name,
        **more,
    )(y)


def _transposed(random, y, name):
    if y.shape[1] * y.shape[2] > 400:
        return y
    kernel, strides, _ = _window(random, y)
    extra = None
    if random.random() < 0.5 and not isinstance(strides, int):
        extra = tuple(int(random.integers(0, s)) for s in strides)
    return layers.Conv2DTranspose(
        int(random.integers(1, 4)),
        kernel,
        strides=strides,
        padding=str(random.choice(["same", "valid"])),
        output_padding=extra,
        name=name,
    )(y)


def _pool(random, y, name):
    cls = random.choice([layers.MaxPooling2D, layers.AveragePooling2D])
    size = tuple(int(min(random.integers(1, 4), n)) for n in y.shape[1:3])
    strides = None if random.random() < 0.3 else tuple(int(s) for s in random.integers(1, 3, 2))
    return cls(size, strides, str(random.choice(["same", "valid"])), name=name)(y)


def _normalisation(random, y, name):
    channels = y.shape[-1]
    groups = [g for g in (1, 2, 3, channels) if channels % g == 0]
    layer = random.choice(
        [
            layers.BatchNormalization(epsilon=2e-3, center=bool(random.random() < 0.7), name=name),
            layers.BatchNormalization(scale=False, momentum=0.8, name=name),
            layers.LayerNormalization(name=name),
            layers.LayerNormalization(axis=[1, 2, 3], epsilon=1e-4, name=name),
            layers.GroupNormalization(int(random.choice(groups)), name=name),
            layers.GroupNormalization(-1, scale=False, name=name),
        ]
    )
    return layer(y)


def _activation(random, y, name):
    return random.choice(
        [
            layers.LeakyReLU(0.2, name=name),
            layers.ELU(0.7, name=name),
            layers.PReLU(shared_axes=[1, 2], name=name),
            layers.PReLU(name=name),
            layers.ReLU(max_value=2.0, negative_slope=0.1, threshold=0.2, name=name),
            layers.Softmax(axis=int(random.integers(1, 4)), name=name),
            layers.Activation(random.choice(ACTIVATIONS), name=name),
            layers.Dropout(0.3, name=name),
        ]
    )(y)


def _moving(random, y, name):
    pads = tuple((int(a), int(b)) for a, b in random.integers(0, 3, (2, 2)))
    options = [layers.ZeroPadding2D(pads, name=name), layers.Permute((2, 1, 3), name=name)]
    if min(y.shape[1:3]) > 3:
        options.append(layers.Cropping2D(((1, 0), (0, 2)), name=name))
    if y.shape[1] * y.shape[2] < 200:
        way = str(random.choice(["nearest", "bilinear", "bicubic"]))
        options.append(layers.UpSampling2D((2, 1), interpolation=way, name=name))
        options.append(layers.Resizing(9, 7, str(random.choice(["nearest", "bilinear"])), name=name))
    return random.choice(options)(y)


def _branches(random, y, name):
    parts = [_conv(random, y, f"{name}_a"), _conv(random, y, f"{name}_b")]
    if parts[0].shape[1:3] != parts[1].shape[1:3]:
        parts = [layers.GlobalMaxPooling2D(keepdims=True, name=f"{name}_{i}")(p) for i, p in enumerate(parts)]
    return layers.Concatenate(name=name)(parts)


STEPS = (
    _conv, _conv, _depthwise, _transposed, _pool, _normalisation, _normalisation, _activation, _activation,
    _moving, _branches,
)  # fmt: skip


def _flat(random, y):
    y = layers.Flatten(name="flat")(y)
    y = layers.BatchNormalization(name="flat_norm")(y) if random.random() < 0.5 else y
    y = layers.Dense(6, activation=random.choice(ACTIVATIONS), name="hidden")(y)
    return layers.Dense(3, activation="softmax", name="classes")(y)


def _global(random, y):
    cls = random.choice([layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D])
    return layers.Dense(3, activation="log_softmax", name="classes")(cls(name="global")(y))


def _map(random, y):
    return layers.Conv2D(2, 1, activation="sigmoid", name="map")(y)


def _reshaped(random, y):
    y = layers.Reshape((y.shape[1] * y.shape[2], y.shape[3]), name="rows")(y)
    return layers.Dense(3, activation="softmax", name="each")(layers.LayerNormalization(name="row_norm")(y))


HEADS = (_flat, _global, _map, _reshaped)
