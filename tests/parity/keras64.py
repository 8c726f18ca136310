"""Keras in float64 throughout, on JAX unless KERAS_BACKEND says otherwise: import this before keras.

Keras rounds through float32 in mean, variance, tanh and others on every backend but TensorFlow, whatever
float type is
asked for: its table of result types maps float64 to float32. The entry is taken out here.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ["JAX_ENABLE_X64"] = "1"
# Every geometry is compiled and run once: compile time is what counts.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

import keras
from keras.src.backend.common import dtypes

dtypes.BIT64_TO_BIT32_DTYPE["float64"] = "float64"
keras.config.set_floatx("float64")

__all__ = ["keras"]
