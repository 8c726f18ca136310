"""Examples of every registered layer, with the shapes they must give: what `check_layer` is run on."""

from itertools import chain

from kernelearn import layers, ops
from kernelearn.layers import Conv1D, Dense
from tests.layers.contract import Example

E = Example
IMAGE, LINE, VOLUME = (6, 5, 4), (9, 4), (4, 5, 3, 2)
RULES = {
    "kernel_initializer": "he_normal",
    "bias_initializer": "ones",
    "kernel_regularizer": "l2",
    "kernel_constraint": "non_neg",
}

CONVOLUTIONS = [
    E("Conv1D", {"filters": 3, "kernel_size": 3}, [LINE], (7, 3), [(3, 4, 3), (3,)]),
    E(
        "Conv1D",
        {"filters": 2, "kernel_size": 3, "padding": "causal", "dilation_rate": 2},
        [LINE],
        (9, 2),
        [(3, 4, 2), (2,)],
        label="causal",
    ),
    E("Conv2D", {"filters": 3, "kernel_size": 3}, [IMAGE], (4, 3, 3), [(3, 3, 4, 3), (3,)]),
    E(
        "Conv2D",
        {"filters": 4, "kernel_size": (3, 2), "strides": 2, "padding": "same", "groups": 2, **RULES},
        [IMAGE],
        (3, 3, 4),
        [(3, 2, 2, 4), (4,)],
        label="groups",
    ),
    E(
        "Conv2D",
        {"filters": 2, "kernel_size": 1, "use_bias": False, "activation": "softmax"},
        [IMAGE],
        (6, 5, 2),
        [(1, 1, 4, 2)],
        label="softmax",
    ),
    E(
        "Conv2D",
        {
            "filters": 2,
            "kernel_size": 2,
            "activation": "relu",
            "activity_regularizer": "l1",
            "learning_rate_multiplier": 0.5,
        },
        [IMAGE],
        (5, 4, 2),
        [(2, 2, 4, 2), (2,)],
        label="options",
    ),
    E(
        "Conv3D",
        {"filters": 3, "kernel_size": 2, "dilation_rate": (2, 1, 1)},
        [VOLUME],
        (2, 4, 2, 3),
        [(2, 2, 2, 2, 3), (3,)],
    ),
    E("Conv1DTranspose", {"filters": 3, "kernel_size": 3, "strides": 2}, [LINE], (19, 3), [(3, 3, 4), (3,)]),
    E(
        "Conv2DTranspose",
        {"filters": 3, "kernel_size": 3, "strides": 2, "padding": "same"},
        [IMAGE],
        (12, 10, 3),
        [(3, 3, 3, 4), (3,)],
    ),
    E(
        "Conv2DTranspose",
        {"filters": 2, "kernel_size": 3, "strides": 2, "padding": "same", "output_padding": 0},
        [IMAGE],
        (11, 9, 2),
        [(3, 3, 2, 4), (2,)],
        label="output_padding",
    ),
    E(
        "Conv2DTranspose",
        {"filters": 6, "kernel_size": 3, "strides": 2, "groups": 2},
        [IMAGE],
        (13, 11, 6),
        [(3, 3, 3, 4), (6,)],
        label="groups",
    ),
    E(
        "Conv3DTranspose",
        {"filters": 2, "kernel_size": 2, "strides": (1, 2, 1)},
        [VOLUME],
        (5, 10, 4, 2),
        [(2, 2, 2, 2, 2), (2,)],
    ),
    E(
        "DepthwiseConv1D",
        {"kernel_size": 3, "depth_multiplier": 2, "padding": "same"},
        [LINE],
        (9, 8),
        [(3, 4, 2), (8,)],
    ),
    E(
        "DepthwiseConv2D",
        {"kernel_size": (3, 2), "strides": 2, "depth_multiplier": 3},
        [IMAGE],
        (2, 2, 12),
        [(3, 2, 4, 3), (12,)],
    ),
    E(
        "SeparableConv1D",
        {"filters": 5, "kernel_size": 3, "depth_multiplier": 2},
        [LINE],
        (7, 5),
        [(3, 4, 2), (1, 8, 5), (5,)],
    ),
    E(
        "SeparableConv2D",
        {"filters": 5, "kernel_size": 3, "padding": "same", "activation": "tanh"},
        [IMAGE],
        (6, 5, 5),
        [(3, 3, 4, 1), (1, 1, 4, 5), (5,)],
    ),
    E("LocallyConnected2D", {"filters": 3, "kernel_size": 3}, [IMAGE], (4, 3, 3), [(3, 3, 4, 36), (36,)]),
    E(
        "LocallyConnected2D",
        {"filters": 2, "kernel_size": (3, 2), "strides": 2, "padding": "same", "activation": "tanh", **RULES},
        [IMAGE],
        (3, 3, 2),
        [(3, 2, 4, 18), (18,)],
        label="strides",
    ),
]

DENSE = [
    E("Dense", {"units": 3}, [(7,)], (3,), [(7, 3), (3,)]),
    E("LearnedArray", {"shape": (2, 3)}, [(7,)], (2, 3), [(2, 3)], is_smooth=False),
    E(
        "EinsumDense",
        {"equation": "abc,cde->abde", "output_shape": (None, 2, 3), "bias_axes": "de", "activation": "tanh"},
        [(5, 4)],
        (5, 2, 3),
        [(4, 2, 3), (2, 3)],
    ),
    E(
        "EinsumDense",
        {"equation": "ab...,bc->ac...", "output_shape": 3, "bias_axes": "c", **RULES},
        [(4, 5)],
        (3, 5),
        [(4, 3), (3, 1)],
        label="right",
    ),
    E(
        "EinsumDense",
        {"equation": "...bc,dbc->...d", "output_shape": 3},
        [(6, 4, 2)],
        (6, 3),
        [(3, 4, 2)],
        label="left",
    ),
    E(
        "MultiHeadAttention",
        {"num_heads": 2, "key_dim": 3, "use_bias": False, "kernel_initializer": "he_normal"},
        [(5, 4), (6, 3)],
        (5, 4),
        [(4, 2, 3), (3, 2, 3), (3, 2, 3), (2, 3, 4)],
    ),
    E(
        "MultiHeadAttention",
        {
            "num_heads": 2,
            "key_dim": 2,
            "value_dim": 3,
            "output_shape": 5,
            "attention_axes": 2,
            "dropout": 0.2,
            "sliding_window": 2,
            "use_gate": True,
            "use_bias": False,
        },
        [(3, 4, 2), (3, 4, 2)],
        (3, 4, 5),
        [(2, 2, 2), (2, 2, 2), (2, 2, 3), (2, 2, 3), (2, 3, 5)],
        draws=True,
        label="rows",
    ),
    E(
        "GroupQueryAttention",
        {"head_dim": 3, "num_query_heads": 4, "num_key_value_heads": 2, "use_bias": False},
        [(5, 4), (6, 4)],
        (5, 4),
        [(4, 4, 3), (4, 2, 3), (4, 2, 3), (4, 3, 4)],
    ),
    E("Attention", {"use_scale": True}, [(5, 4), (6, 4)], (5, 4), [()]),
    E(
        "Attention",
        {"score_mode": "concat", "dropout": 0.3},
        [(5, 4)] * 3,
        (5, 4),
        [()],
        draws=True,
        label="concat",
    ),
    E("AdditiveAttention", {}, [(5, 4), (6, 4), (6, 4)], (5, 4), [(4,)]),
    E("Dot", {"axes": (1, 2)}, [(3, 5), (4, 3)], (5, 4)),
    E("Dot", {"axes": -1}, [(3,), (3,)], (1,), label="vectors"),
    E(
        "Dense",
        {"units": 3, "use_bias": False, "activation": "gelu"},
        [(2, 7)],
        (2, 3),
        [(7, 3)],
        label="rows",
    ),
]

POOLING = [
    E("MaxPooling1D", {"pool_size": 2}, [LINE], (4, 4)),
    E("MaxPooling2D", {"pool_size": (2, 3), "strides": 2, "padding": "same"}, [IMAGE], (3, 3, 4)),
    E("MaxPooling3D", {}, [VOLUME], (2, 2, 1, 2)),
    E("AveragePooling1D", {"pool_size": 3, "strides": 1, "padding": "same"}, [LINE], (9, 4)),
    E("AveragePooling2D", {}, [IMAGE], (3, 2, 4)),
    E("AveragePooling3D", {"pool_size": (1, 2, 2), "padding": "same"}, [VOLUME], (4, 3, 2, 2)),
    *[
        E(
            f"Global{kind}Pooling{len(shape) - 1}D",
            {"keepdims": keep},
            [shape],
            (1,) * (len(shape) - 1) * keep + shape[-1:],
            label="keepdims" * keep,
        )
        for kind in ("Max", "Average")
        for shape in (LINE, IMAGE, VOLUME)
        for keep in (False, True)
    ],
]

SHAPING = [
    E("Flatten", {}, [IMAGE], (120,)),
    E("Flatten", {}, [(7,)], (7,), label="flat"),
    E("Reshape", {"target_shape": [4, -1]}, [IMAGE], (4, 30)),
    E("Permute", {"dims": [3, 1, 2]}, [IMAGE], (4, 6, 5)),
    E("ZeroPadding1D", {"padding": [1, 2]}, [LINE], (12, 4)),
    E("ZeroPadding2D", {"padding": [[1, 2], [0, 3]]}, [IMAGE], (9, 8, 4)),
    E("ZeroPadding3D", {"padding": 1}, [VOLUME], (6, 7, 5, 2)),
    E("Cropping1D", {"cropping": 2}, [LINE], (5, 4)),
    E("Cropping2D", {"cropping": [1, 2]}, [IMAGE], (4, 1, 4)),
    E("Cropping3D", {"cropping": [[1, 0], [0, 2], [1, 1]]}, [VOLUME], (3, 3, 1, 2)),
    E("UpSampling1D", {"size": 3}, [LINE], (27, 4)),
    E("UpSampling2D", {"size": [2, 3]}, [IMAGE], (12, 15, 4)),
    E("UpSampling2D", {"interpolation": "bilinear"}, [IMAGE], (12, 10, 4), label="bilinear"),
    E("UpSampling3D", {"size": [1, 2, 2]}, [VOLUME], (4, 10, 6, 2)),
]

ACTIVATIONS = [
    E("Activation", {"activation": "silu"}, [IMAGE], IMAGE),
    E("Activation", {"activation": "log_softmax"}, [IMAGE], IMAGE, label="axis"),
    E("ReLU", {"max_value": 1.0, "negative_slope": 0.1, "threshold": 0.2}, [IMAGE], IMAGE),
    E("LeakyReLU", {}, [IMAGE], IMAGE),
    E("ELU", {"alpha": 0.5}, [IMAGE], IMAGE),
    E("Softmax", {"axis": 1}, [IMAGE], IMAGE),
    E("PReLU", {}, [IMAGE], IMAGE, [IMAGE]),
    E(
        "PReLU",
        {"shared_axes": [1, 2], "alpha_regularizer": "l1"},
        [IMAGE],
        IMAGE,
        [(1, 1, 4)],
        label="shared",
    ),
]

NORMALIZATION = [
    E("BatchNormalization", {}, [IMAGE], IMAGE, [(4,)] * 4),
    E(
        "BatchNormalization",
        {"axis": 1, "scale": False, "momentum": 0.5},
        [IMAGE],
        IMAGE,
        [(6,)] * 3,
        label="axis",
    ),
    E("BatchNormalization", {}, [(7,)], (7,), [(7,)] * 4, label="flat"),
    E("LayerNormalization", {}, [IMAGE], IMAGE, [(4,)] * 2),
    E("LayerNormalization", {"axis": [2, 3], "center": False}, [IMAGE], IMAGE, [(5, 4)], label="axes"),
    E("GroupNormalization", {"groups": 2}, [IMAGE], IMAGE, [(4,)] * 2),
    E("GroupNormalization", {"groups": -1, "scale": False}, [IMAGE], IMAGE, [(4,)], label="instance"),
]

NOISE = [
    E("Dropout", {"rate": 0.4, "seed": 3}, [IMAGE], IMAGE, draws=True),
    E(
        "Dropout",
        {"rate": 0.4, "noise_shape": [None, 1, 1, None]},
        [IMAGE],
        IMAGE,
        draws=True,
        label="noise_shape",
    ),
    E("SpatialDropout1D", {"rate": 0.4}, [LINE], LINE, draws=True),
    E("SpatialDropout2D", {"rate": 0.4}, [IMAGE], IMAGE, draws=True),
    E("SpatialDropout3D", {"rate": 0.4}, [VOLUME], VOLUME, draws=True),
    E("GaussianNoise", {"stddev": 0.5}, [IMAGE], IMAGE, draws=True),
]

MERGING = [
    *[
        E(name, {}, [IMAGE, IMAGE, IMAGE], IMAGE)
        for name in ("Add", "Multiply", "Average", "Maximum", "Minimum")
    ],
    E("Add", {}, [IMAGE, (1, 1, 4)], IMAGE, label="broadcast"),
    E("Subtract", {}, [IMAGE, IMAGE], IMAGE),
    E("Concatenate", {}, [IMAGE, (6, 5, 1), IMAGE], (6, 5, 9)),
    E("Lambda", {"function": lambda **_: ops.relu, "arguments": {"negative_slope": 0.5}}, [IMAGE], IMAGE),
    E(
        "Dense",
        {"units": 3, "activation": lambda **_: ops.square},
        [(4,)],
        (3,),
        [(4, 3), (3,)],
        label="function",
    ),
    E(
        "Dense",
        {"units": 3, "activation": lambda **_: layers.ELU()},
        [(4,)],
        (3,),
        [(4, 3), (3,)],
        label="layer",
    ),
    E(
        "WeightedOperation",
        {
            "function": "multiply",
            "arguments": [{"input": 0}, {"input": 1}],
            "weight_shapes": [(6, 1, 4)],
        },
        [IMAGE],
        IMAGE,
        [(6, 1, 4)],
    ),
    E(
        "OperationLayer",
        {"function": "subtract", "arguments": [{"input": 1}], "keywords": {"x2": {"input": 0}}},
        [IMAGE, IMAGE],
        IMAGE,
    ),
    E("Concatenate", {"axis": 1}, [IMAGE, (2, 5, 4)], (8, 5, 4), label="rows"),
]

PREPARATION = [
    E("Rescaling", {"scale": 0.5, "offset": -1.0}, [IMAGE], IMAGE),
    E("Rescaling", {"scale": [1.0, 2.0, 3.0, 4.0]}, [IMAGE], IMAGE, label="channels"),
    E("Normalization", {}, [IMAGE], IMAGE, [(4,), (4,), ()]),
    E("Normalization", {"axis": [1, 3], "invert": True}, [IMAGE], IMAGE, [(6, 4), (6, 4), ()], label="axes"),
    E("Normalization", {"axis": None}, [(7,)], (7,), [()] * 3, label="scalar"),
    E("Normalization", {"mean": [1.0, 2.0, 3.0, 4.0], "variance": [4.0] * 4}, [IMAGE], IMAGE, label="given"),
    E("CenterCrop", {"height": 3, "width": 4}, [IMAGE], (3, 4, 4)),
    E("CenterCrop", {"height": 8, "width": 4}, [IMAGE], (8, 4, 4), label="enlarged"),
    E("Resizing", {"height": 3, "width": 8, "interpolation": "bicubic"}, [IMAGE], (3, 8, 4)),
    E(
        "Resizing",
        {"height": 3, "width": 8, "pad_to_aspect_ratio": True, "fill_value": 2.0},
        [IMAGE],
        (3, 8, 4),
        label="pad",
    ),
    E(
        "Resizing",
        {"height": 3, "width": 8, "crop_to_aspect_ratio": True, "antialias": True},
        [IMAGE],
        (3, 8, 4),
        label="crop",
    ),
]

AUGMENTATION = [
    E("RandomFlip", {"seed": 1}, [IMAGE], IMAGE, draws=True),
    E("RandomFlip", {"mode": "horizontal"}, [IMAGE], IMAGE, draws=True, label="horizontal"),
    E("RandomCrop", {"height": 3, "width": 2}, [IMAGE], (3, 2, 4), draws=True),
    E("RandomCrop", {"height": 8, "width": 4}, [IMAGE], (8, 4, 4), label="enlarged"),
    E("RandomRotation", {"factor": 0.2}, [IMAGE], IMAGE, draws=True),
    E(
        "RandomRotation",
        {"factor": [0.1, 0.2], "fill_mode": "constant", "fill_value": 1.0, "interpolation": "nearest"},
        [IMAGE],
        IMAGE,
        draws=True,
        label="constant",
    ),
    E(
        "RandomTranslation",
        {"height_factor": 0.3, "width_factor": [-0.2, 0.4], "fill_mode": "wrap"},
        [IMAGE],
        IMAGE,
        draws=True,
    ),
    E("RandomZoom", {"height_factor": 0.3}, [IMAGE], IMAGE, draws=True),
    E(
        "RandomZoom",
        {"height_factor": 0.3, "width_factor": 0.5, "fill_mode": "nearest"},
        [IMAGE],
        IMAGE,
        draws=True,
        label="both",
    ),
    E("RandomContrast", {"factor": 0.5, "value_range": [-3, 3]}, [IMAGE], IMAGE, draws=True),
    E(
        "RandomContrast",
        {"factor": [0.1, 0.9], "value_range": [0.0, 1.0]},
        [IMAGE],
        IMAGE,
        draws=True,
        label="bounds",
    ),
]

SEQUENCE = (5, 3)
PHOTO, UNIT = (6, 5, 3), {"value_range": [-4.0, 4.0]}
FOLLOWING = [
    E("RandomBrightness", {"factor": 0.3, **UNIT}, [PHOTO], PHOTO, draws=True),
    E("RandomSaturation", {"factor": [0.2, 0.8], **UNIT}, [PHOTO], PHOTO, draws=True),
    E("RandomHue", {"factor": 0.5, **UNIT}, [PHOTO], PHOTO, draws=True),
    E("RandomColorDegeneration", {"factor": 0.5, **UNIT}, [PHOTO], PHOTO, draws=True),
    E("RandomPosterization", {"factor": [3, 6], **UNIT}, [PHOTO], PHOTO, draws=True, is_smooth=False),
    E("RandomInvert", {"factor": 0.5, **UNIT}, [PHOTO], PHOTO, draws=True),
    E("RandomGrayscale", {"factor": 0.5}, [PHOTO], PHOTO, draws=True),
    E("Solarization", {"threshold_factor": 0.5, **UNIT}, [PHOTO], PHOTO, draws=True),
    E("RandomColorJitter", {"brightness_factor": 0.2, "hue_factor": 0.2, **UNIT}, [PHOTO], PHOTO, draws=True),
    E("RandomSharpness", {"factor": 0.9, **UNIT}, [PHOTO], PHOTO, draws=True),
    E("RandomGaussianBlur", {"kernel_size": (3, 5), **UNIT}, [PHOTO], PHOTO, draws=True),
    E("RandomErasing", {"scale": [0.2, 0.5], "fill_value": 1.0, **UNIT}, [PHOTO], PHOTO, draws=True),
    E("MixUp", {"alpha": 0.5}, [PHOTO], PHOTO, draws=True, mixes=True),
    E("CutMix", {}, [PHOTO], PHOTO, draws=True, mixes=True),
    E("Identity", {}, [IMAGE], IMAGE),
    E("ActivityRegularization", {"l1": 0.1, "l2": 0.2}, [IMAGE], IMAGE),
    E("RepeatVector", {"n": 3}, [(4,)], (3, 4)),
    E(
        "Embedding",
        {"input_dim": 6, "output_dim": 4, "mask_zero": True},
        [(5,)],
        (5, 4),
        [(6, 4)],
        vocabulary=6,
        is_smooth=False,
    ),
    E("Masking", {"mask_value": 0.5}, [SEQUENCE], SEQUENCE),
    E("UnitNormalization", {"axis": (1, -1)}, [IMAGE], IMAGE),
    E("RMSNormalization", {}, [IMAGE], IMAGE, [(4,)]),
    E("RMSNormalization", {"axis": [1, 2], "epsilon": 0.1}, [IMAGE], IMAGE, [(6, 5)], label="axes"),
    E("GlobalResponseNormalization", {}, [IMAGE], IMAGE, [(4,), (4,)]),
    E("GaussianDropout", {"rate": 0.4}, [IMAGE], IMAGE, draws=True),
    E("AlphaDropout", {"rate": 0.4, "noise_shape": (None, 1, 1, None)}, [IMAGE], IMAGE, draws=True),
    E("StochasticDepth", {"rate": 0.5}, [IMAGE], IMAGE, draws=True),
    E("StochasticDepth", {"rate": 0.5}, [IMAGE, IMAGE], IMAGE, draws=True, label="shortcut"),
    E("AdaptiveAveragePooling1D", {"output_size": 4}, [LINE], (4, 4)),
    E("AdaptiveAveragePooling2D", {"output_size": (4, 7)}, [IMAGE], (4, 7, 4)),
    E("AdaptiveAveragePooling2D", {"output_size": (3, 5)}, [IMAGE], (3, 5, 4), label="even"),
    E("AdaptiveAveragePooling3D", {"output_size": 2}, [VOLUME], (2, 2, 2, 2)),
    E("AdaptiveMaxPooling1D", {"output_size": 4}, [LINE], (4, 4)),
    E("AdaptiveMaxPooling2D", {"output_size": (4, 3)}, [IMAGE], (4, 3, 4)),
    E("AdaptiveMaxPooling3D", {"output_size": (2, 3, 2)}, [VOLUME], (2, 3, 2, 2)),
    E(
        "TimeDistributed",
        {"layer": lambda **more: Conv1D(2, 2, **more)},
        [(3, 4, 2)],
        (3, 3, 2),
        [(2, 2, 2), (2,)],
    ),
    E(
        "SpectralNormalization",
        {"layer": lambda **more: Conv1D(3, 2, **more), "power_iterations": 2},
        [LINE],
        (8, 3),
        [(1, 3), (2, 4, 3), (3,)],
    ),
    E("LayerNormalization", {"rms_scaling": True}, [IMAGE], IMAGE, [(4,)], label="rms"),
    E("GroupNormalization", {"groups": 3, "axis": 1}, [IMAGE], IMAGE, [(6,), (6,)], label="axis"),
    E("Wrapper", {"layer": lambda **more: Dense(2, **more)}, [LINE], (9, 2), [(4, 2), (2,)]),
]

EXAMPLES = list(
    chain(
        CONVOLUTIONS,
        DENSE,
        POOLING,
        SHAPING,
        ACTIVATIONS,
        NORMALIZATION,
        NOISE,
        MERGING,
        PREPARATION,
        AUGMENTATION,
        FOLLOWING,
    )
)
