"""What the class names of Keras's configs mean here: tables of our classes, and of spellings that changed.

Keys of configs that have no meaning here stand in `WITHOUT_MEANING` with the values that are harmless; any
other value, and any other key, is refused by name.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from kernelearn import constraints, initializers, layers, losses, metrics, optimizers, regularizers, schedules
from kernelearn.layers.core.naming import snake_case

_LAYERS = """
Activation ActivityRegularization AdaptiveAveragePooling1D AdaptiveAveragePooling2D AdaptiveAveragePooling3D
AdaptiveMaxPooling1D AdaptiveMaxPooling2D AdaptiveMaxPooling3D Add AdditiveAttention AlphaDropout Attention
Average AveragePooling1D AveragePooling2D AveragePooling3D BatchNormalization CenterCrop Concatenate Conv1D
Conv1DTranspose Conv2D Conv2DTranspose Conv3D Conv3DTranspose Cropping1D Cropping2D Cropping3D CutMix Dense
DepthwiseConv1D DepthwiseConv2D Dot Dropout ELU EinsumDense Embedding Flatten GaussianDropout GaussianNoise
GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D GlobalMaxPooling1D GlobalMaxPooling2D
GlobalMaxPooling3D GroupNormalization GroupQueryAttention Identity LayerNormalization LeakyReLU Masking
MaxPooling1D MaxPooling2D MaxPooling3D Maximum Minimum MixUp MultiHeadAttention Multiply Normalization PReLU
Permute RMSNormalization RandomBrightness RandomColorDegeneration RandomColorJitter RandomContrast RandomCrop
RandomErasing RandomFlip RandomGaussianBlur RandomGrayscale RandomHue RandomInvert RandomPosterization
RandomRotation RandomSaturation RandomSharpness RandomTranslation RandomZoom ReLU RepeatVector Rescaling
Reshape Resizing SeparableConv1D SeparableConv2D Softmax Solarization SpatialDropout1D SpatialDropout2D
SpatialDropout3D SpectralNormalization Subtract TimeDistributed UnitNormalization UpSampling1D UpSampling2D
UpSampling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D
"""
# Names in files that are not the names here.
_OTHER_NAMES = {
    "GroupedQueryAttention": "GroupQueryAttention",
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
    "SyncBatchNormalization": "BatchNormalization",
    "LocallyConnected2D": "LocallyConnected2D",  # of Keras 2
}


def _table(family: Any, names: str) -> dict[str, type]:
    return {name: getattr(family, name) for name in names.split()}


LAYERS: dict[str, type] = {
    **_table(layers, _LAYERS),
    **{theirs: getattr(layers, ours) for theirs, ours in _OTHER_NAMES.items()},
}
# Families of objects in configs: class name -> our class.
FAMILIES: dict[str, dict[str, type]] = {
    "layer": LAYERS,
    "initializer": _table(
        initializers,
        "Constant GlorotNormal GlorotUniform HeNormal HeUniform Identity LecunNormal LecunUniform Ones "
        "Orthogonal RandomNormal RandomUniform TruncatedNormal VarianceScaling Zeros",
    ),
    "regularizer": _table(regularizers, "L1 L1L2 L2 OrthogonalRegularizer"),
    "constraint": _table(constraints, "MaxNorm MinMaxNorm NonNeg UnitNorm"),
    "schedule": _table(
        schedules,
        "CosineDecay CosineDecayRestarts ExponentialDecay InverseTimeDecay PiecewiseConstantDecay "
        "PolynomialDecay",
    ),
    "optimizer": _table(
        optimizers,
        "SGD Adadelta Adafactor Adagrad Adam AdamW Adamax Ftrl Lamb Lion Muon Nadam RMSprop "
        "ScheduleFreeAdamW",
    ),
    "loss": _table(
        losses,
        "CTC BinaryCrossentropy BinaryFocalCrossentropy CategoricalCrossentropy CategoricalFocalCrossentropy "
        "CategoricalGeneralizedCrossEntropy CategoricalHinge Circle CosineSimilarity Dice Hinge Huber "
        "KLDivergence LogCosh MeanAbsoluteError MeanAbsolutePercentageError MeanSquaredError "
        "MeanSquaredLogarithmicError Poisson SparseCategoricalCrossentropy SquaredHinge Tversky",
    ),
    "metric": _table(
        metrics,
        "AUC Accuracy BinaryAccuracy BinaryCrossentropy BinaryIoU CategoricalAccuracy "
        "CategoricalCrossentropy CategoricalHinge ConcordanceCorrelation CosineSimilarity F1Score FBetaScore "
        "FalseNegatives FalsePositives Hinge IoU KLDivergence LogCoshError MeanAbsoluteError "
        "MeanAbsolutePercentageError MeanIoU MeanSquaredError MeanSquaredLogarithmicError OneHotIoU "
        "OneHotMeanIoU PearsonCorrelation Poisson Precision PrecisionAtRecall R2Score Recall "
        "RecallAtPrecision RootMeanSquaredError SensitivityAtSpecificity SparseCategoricalAccuracy "
        "SparseCategoricalCrossentropy SparseTopKCategoricalAccuracy SpecificityAtSensitivity SquaredHinge "
        "TopKCategoricalAccuracy TrueNegatives TruePositives",
    ),
}
# Where each family lies in Keras 3.
MODULES = {
    "layer": "keras.layers",
    "initializer": "keras.initializers",
    "regularizer": "keras.regularizers",
    "constraint": "keras.constraints",
    "schedule": "keras.optimizers.schedules",
    "optimizer": "keras.optimizers",
    "loss": "keras.losses",
    "metric": "keras.metrics",
}
MODELS = ("Functional", "Model", "Sequential")

# Layers that compute something else than Keras's of the same name: said when they are read or written.
DIFFERENT = {
    "SpectralNormalization": "the kernel is divided in training and inference; Keras's backends differ",
    "RandomCrop": "images are cropped here in inference, too; Keras leaves them as they are",
}

ANY = object()  # any value is harmless

# (class or "*", key) -> the name here. "*" of a family is for all of its classes.
RENAMED: dict[str, dict[tuple[str, str], str]] = {
    "layer": {("LeakyReLU", "alpha"): "negative_slope"},
    "optimizer": {("*", "lr"): "learning_rate"},
}
# family -> (class or "*", key) -> values without meaning here, or ANY.
WITHOUT_MEANING: dict[str, dict[tuple[str, str], Any]] = {
    "layer": {
        ("*", "autocast"): ANY,
        ("*", "quantization_config"): (None,),
        ("*", "lora_rank"): (None,),
        ("*", "lora_alpha"): (None,),
        ("*", "gptq_unpacked_column_size"): (None,),
        ("*", "dynamic"): (False,),
        ("*", "bounding_box_format"): (None,),
        ("BatchNormalization", "renorm"): (False,),
        ("BatchNormalization", "renorm_clipping"): ANY,
        ("BatchNormalization", "renorm_momentum"): ANY,
        ("BatchNormalization", "fused"): ANY,  # how Keras 2 computes it
        ("BatchNormalization", "virtual_batch_size"): (None,),
        ("BatchNormalization", "adjustment"): (None,),
        **{
            ("DepthwiseConv2D", f"kernel_{rule}"): ANY
            for rule in ("initializer", "regularizer", "constraint")
        },
        **{
            ("DepthwiseConv1D", f"kernel_{rule}"): ANY
            for rule in ("initializer", "regularizer", "constraint")
        },
        **{
            ("SeparableConv2D", f"kernel_{rule}"): ANY
            for rule in ("initializer", "regularizer", "constraint")
        },
        **{
            ("SeparableConv1D", f"kernel_{rule}"): ANY
            for rule in ("initializer", "regularizer", "constraint")
        },
        **{(f"{kind}Conv{rank}D", "groups"): (1,) for kind in ("Depthwise", "Separable") for rank in (1, 2)},
        **{(f"Conv{rank}DTranspose", "groups"): (1,) for rank in (1, 2, 3)},
        ("Embedding", "input_length"): ANY,  # the shape says it
        **{
            (kind, key): ANY
            for kind in ("MultiHeadAttention", "GroupQueryAttention")
            for key in ("query_shape", "key_shape", "value_shape")
        },
        ("MultiHeadAttention", "softmax_robust_masking"): (False, None),
        ("MultiHeadAttention", "flash_attention"): ANY,
        ("GroupQueryAttention", "flash_attention"): ANY,
        ("LocallyConnected2D", "implementation"): (1,),
        ("Normalization", "input_mean"): (None,),
        ("Normalization", "input_variance"): (None,),
    },
    "initializer": {
        ("*", "dtype"): ANY,
        ("*", "input_axes"): (None,),
        ("*", "output_axes"): (None,),
    },
    "optimizer": {
        ("*", "is_legacy_optimizer"): ANY,
        ("*", "loss_scale_factor"): ANY,
        ("*", "jit_compile"): ANY,
    },
    "loss": {("*", "dtype"): ANY, ("*", "fn"): ANY},
    "metric": {
        ("*", "dtype"): ANY,
        ("*", "fn"): ANY,
        ("*", "init_from_config"): ANY,
        ("SparseTopKCategoricalAccuracy", "from_sorted_ids"): (False,),
    },
}


def class_in(family: str, name: str) -> type | None:
    """Our class for a name in a file; None if there is none."""
    return FAMILIES[family].get(name.removeprefix("Custom>") if family == "optimizer" else name)


def keras_name(cls: type) -> str:
    """The name that Keras has for one of our classes in configs."""
    return cls.__name__


# Classes of Keras that are called otherwise than they are exported.
_CLASSES = {"Model": "Functional", "GroupQueryAttention": "GroupedQueryAttention"}


def stored_name(layer: Any) -> str:
    """What a layer is called in the groups of a `.weights.h5`: its class in small letters."""
    name = type(layer).__name__
    return snake_case(_CLASSES.get(name, name))


def is_keras_module(module: Any) -> bool:
    """Whether a config's module is Keras's own, in one of the spellings of its versions."""
    if module is None:
        return True
    parts = str(module).split(".")
    return parts[0] in ("keras", "tf_keras") or parts[:2] in (
        ["tensorflow", "keras"],
        ["tensorflow", "python"],
    )


def harmless(family: str, owner: str, key: str, value: Any) -> bool:
    """Whether a key of a config with this value means nothing here."""
    table: Mapping[tuple[str, str], Any] = WITHOUT_MEANING.get(family, {})
    allowed = table.get((owner, key), table.get(("*", key)))
    return allowed is ANY or (allowed is not None and any(value is v or value == v for v in allowed))


def safe_name(name: str) -> str:
    """The name of a layer, which may not have slashes here."""
    return name.replace("/", "_").replace("\\", "_")


def warn_of_difference(what: str, layer: Any) -> None:
    """Say where a layer computes something else than Keras's of the same name."""
    note = DIFFERENT.get(type(layer).__name__)
    if note is not None:
        warnings.warn(
            f"{what}: layer {layer.name!r} ({type(layer).__name__}): {note}.", UserWarning, stacklevel=8
        )
