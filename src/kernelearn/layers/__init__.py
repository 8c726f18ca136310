"""The layers, under the names Keras users know. A layer declares arguments and weights; the engine computes."""

from kernelearn.layers.activations import ELU, Activation, LeakyReLU, PReLU, ReLU, Softmax
from kernelearn.layers.augmentation import (
    RandomContrast,
    RandomCrop,
    RandomFlip,
    RandomRotation,
    RandomTranslation,
    RandomZoom,
)
from kernelearn.layers.base import LAYERS, Layer
from kernelearn.layers.convolution import (
    Conv1D,
    Conv1DTranspose,
    Conv2D,
    Conv2DTranspose,
    Conv3D,
    Conv3DTranspose,
    DepthwiseConv1D,
    DepthwiseConv2D,
    SeparableConv1D,
    SeparableConv2D,
)
from kernelearn.layers.dense import Dense
from kernelearn.layers.merging import (
    Add,
    Average,
    Concatenate,
    Input,
    InputLayer,
    Maximum,
    Minimum,
    Multiply,
    Subtract,
)
from kernelearn.layers.noise import Dropout, GaussianNoise, SpatialDropout1D, SpatialDropout2D, SpatialDropout3D
from kernelearn.layers.normalization import BatchNormalization, GroupNormalization, LayerNormalization
from kernelearn.layers.pooling import (
    AveragePooling1D,
    AveragePooling2D,
    AveragePooling3D,
    GlobalAveragePooling1D,
    GlobalAveragePooling2D,
    GlobalAveragePooling3D,
    GlobalMaxPooling1D,
    GlobalMaxPooling2D,
    GlobalMaxPooling3D,
    MaxPooling1D,
    MaxPooling2D,
    MaxPooling3D,
)
from kernelearn.layers.preprocessing import CenterCrop, Normalization, Rescaling, Resizing
from kernelearn.layers.shaping import (
    Cropping1D,
    Cropping2D,
    Cropping3D,
    Flatten,
    Permute,
    Reshape,
    UpSampling1D,
    UpSampling2D,
    UpSampling3D,
    ZeroPadding1D,
    ZeroPadding2D,
    ZeroPadding3D,
)

__all__ = sorted(["LAYERS", "Input", "Layer", *[name for name in LAYERS.names() if name in globals()]])
