"""Write golden_training_math.npz: what live Keras (for OneCycle PyTorch) computes for losses, optimisers, ...

Run with Keras, TensorFlow and PyTorch installed, from the root of the repository:

    python tests/parity/make_golden_math.py

Every record is a dict of settings (JSON) with the arrays it refers to; `test_golden_math.py` reads them
without Keras. Keras runs on TensorFlow in float64. NOTE: even then it rounds some Python numbers (0.9, 0.999,
1e-7) to float32, so settings are mostly sums of powers of two, which float32 holds exactly.
"""

import json
import os
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
import torch

PATH = Path(__file__).with_name("golden_training_math.npz")
RNG = np.random.default_rng(20)
N, K = 8, 5


class Golden:
    """Records and the arrays they name, collected and written as one compressed file."""

    def __init__(self):
        self.records = []
        self.arrays = {}

    def add(self, family, arrays, **settings):
        number = len(self.records)
        for name, array in arrays.items():
            self.arrays[f"{number}/{name}"] = np.asarray(array)
        self.records.append({"family": family, **settings})

    def write(self):
        versions = {"keras": keras.__version__, "torch": torch.__version__, "tensorflow": tf.__version__}
        stored, names = shared(self.arrays)
        header = json.dumps({"versions": versions, "records": self.records, "arrays": names})
        np.savez_compressed(PATH, header=np.array(header), **stored)


def shared(arrays):
    """A copy of the records' arrays with each value stored once and a map from name to the stored name."""
    stored, names, seen = {}, {}, {}
    for name, array in arrays.items():
        key = (array.dtype.str, array.shape, array.tobytes())
        names[name] = seen.setdefault(key, name)
        stored.setdefault(names[name], array)
    return stored, names


def gradient_of(function, x):
    """Value of a Keras function and the gradient of its sum at x."""
    variable = tf.Variable(x)
    with tf.GradientTape() as tape:
        value = function(variable)
        total = tf.reduce_sum(value)
    return value.numpy(), tf.convert_to_tensor(tape.gradient(total, variable)).numpy()


# Not sparsemax: Keras 3.15 gives rows that do not sum to 1 when more than one entry is positive.
PLAIN_ACTIVATIONS = """
    linear relu relu6 leaky_relu elu selu celu gelu silu swish mish sigmoid log_sigmoid softplus
    softsign squareplus exponential tanh tanh_shrink hard_sigmoid hard_silu hard_swish hard_tanh
    soft_shrink hard_shrink sparse_plus sparse_sigmoid softmax log_softmax
"""
ACTIVATIONS = [
    *[(name, {}) for name in PLAIN_ACTIVATIONS.split()],
    ("threshold", {"threshold": 0.25, "default_value": -2.0}),
    ("relu", {"negative_slope": 0.25, "max_value": 1.5, "threshold": 0.5}),
    ("relu", {"negative_slope": 0.25, "max_value": 2.0}),
    ("relu", {"max_value": 6.0}),
    ("leaky_relu", {"negative_slope": 0.125}),
    ("elu", {"alpha": 1.75}),
    ("celu", {"alpha": 0.5}),
    ("gelu", {"approximate": True}),
    ("squareplus", {"b": 1}),
    ("soft_shrink", {"threshold": 0.25}),
    ("hard_shrink", {"threshold": 0.25}),
]


def add_activations(golden):
    x = np.concatenate([RNG.normal(size=40) * 3, [-20.0, -6.5, 6.5, 20.0]]).reshape(4, 11)
    for name, attrs in ACTIVATIONS:
        function = getattr(keras.activations, name if name != "swish" else "silu")
        weight = RNG.normal(size=x.shape)  # so that gradients of softmax do not cancel
        y = function(tf.constant(x), **attrs).numpy()
        _, grad = gradient_of(lambda v, f=function, a=attrs, w=weight: f(v, **a) * w, x)
        golden.add("activation", {"x": x, "y": y, "grad_y": weight, "grad_x": grad}, name=name, attrs=attrs)


def loss_inputs():
    real, scores = RNG.normal(size=(N, K)), RNG.normal(size=(N, K)) * 2
    labels = RNG.integers(0, K, N)
    return {
        "real": real,
        "scores": scores,
        "scores_32": scores.astype("float32"),  # TensorFlow's in_top_k takes nothing else
        "positive": RNG.uniform(0.1, 3, (N, K)),
        "bits": (RNG.uniform(size=(N, K)) > 0.5) * 1.0,
        "probabilities": RNG.uniform(0.05, 0.95, (N, K)),
        "labels": labels,
        "one_hot": np.eye(K)[labels],
        "distribution": RNG.dirichlet(np.ones(K), N),
    }


LOSSES = [
    ("mean_squared_error", {}, "real", "scores"),
    ("mean_absolute_error", {}, "real", "scores"),
    ("mean_absolute_percentage_error", {}, "real", "scores"),
    ("mean_squared_logarithmic_error", {}, "positive", "scores"),
    ("huber", {}, "real", "scores"),
    ("huber", {"delta": 0.25}, "real", "scores"),
    ("log_cosh", {}, "real", "scores"),
    ("poisson", {}, "positive", "probabilities"),
    ("cosine_similarity", {}, "real", "scores"),
    ("hinge", {}, "bits", "scores"),
    ("squared_hinge", {}, "bits", "scores"),
    ("categorical_hinge", {}, "one_hot", "scores"),
    ("kl_divergence", {}, "distribution", "probabilities"),
    ("binary_crossentropy", {}, "bits", "probabilities"),
    ("binary_crossentropy", {"label_smoothing": 0.125}, "bits", "probabilities"),
    ("binary_crossentropy", {"from_logits": True, "label_smoothing": 0.125}, "bits", "scores"),
    ("categorical_crossentropy", {}, "one_hot", "probabilities"),
    ("categorical_crossentropy", {"label_smoothing": 0.125}, "distribution", "probabilities"),
    ("categorical_crossentropy", {"from_logits": True}, "one_hot", "scores"),
    ("categorical_crossentropy", {"from_logits": True, "label_smoothing": 0.25}, "one_hot", "scores"),
    ("sparse_categorical_crossentropy", {"from_logits": True}, "labels", "scores"),
    ("sparse_categorical_crossentropy", {}, "labels", "distribution"),
    ("sparse_categorical_crossentropy", {"from_logits": True, "ignore_class": 1}, "labels", "scores"),
    ("binary_focal_crossentropy", {}, "bits", "probabilities"),
    (
        "binary_focal_crossentropy",
        {"apply_class_balancing": True, "alpha": 0.375, "gamma": 3.0, "label_smoothing": 0.125},
        "bits",
        "probabilities",
    ),
    ("binary_focal_crossentropy", {"from_logits": True}, "bits", "scores"),
    ("categorical_focal_crossentropy", {}, "one_hot", "probabilities"),
    ("categorical_focal_crossentropy", {"from_logits": True, "gamma": 1.5}, "one_hot", "scores"),
    ("categorical_focal_crossentropy", {"alpha": 0.5, "label_smoothing": 0.125}, "one_hot", "probabilities"),
]
LOSS_CLASSES = {
    "mean_squared_error": "MeanSquaredError",
    "binary_crossentropy": "BinaryCrossentropy",
    "sparse_categorical_crossentropy": "SparseCategoricalCrossentropy",
}


def add_losses(golden):
    inputs = loss_inputs()
    weight = RNG.uniform(0, 2, N)
    for kind, attrs, true_name, pred_name in LOSSES:
        y_true, y_pred = inputs[true_name], inputs[pred_name]
        function = getattr(keras.losses, kind)
        value, grad = gradient_of(lambda v, f=function, t=y_true, a=attrs: f(tf.constant(t), v, **a), y_pred)
        arrays = {"y_true": y_true, "y_pred": y_pred, "value": value, "gradient": grad, "weight": weight}
        reduced = {}
        if kind in LOSS_CLASSES:
            for reduction in ("sum_over_batch_size", "sum", "mean_with_sample_weight"):
                loss = getattr(keras.losses, LOSS_CLASSES[kind])(reduction=reduction, **attrs)
                reduced[reduction] = float(loss(y_true, y_pred, weight))
        golden.add("loss", arrays, kind=kind, attrs=attrs, reduced=reduced)


EPSILON = 2.0**-23
ADAM = {"beta_1": 0.875, "beta_2": 0.96875, "epsilon": EPSILON}
RMS = {"rho": 0.875, "epsilon": EPSILON}
OPTIMIZERS = [
    ("SGD", {"learning_rate": 0.125}),
    ("SGD", {"learning_rate": 0.125, "momentum": 0.875}),
    ("SGD", {"learning_rate": 0.125, "momentum": 0.875, "nesterov": True, "weight_decay": 0.0625}),
    ("SGD", {"learning_rate": 0.125, "clipnorm": 0.5}),
    ("SGD", {"learning_rate": 0.125, "clipvalue": 0.25}),
    ("SGD", {"learning_rate": 0.125, "global_clipnorm": 0.75}),
    ("Adam", {"learning_rate": 0.0625, **ADAM}),
    ("Adam", {"learning_rate": 0.0625, **ADAM, "amsgrad": True, "weight_decay": 0.125}),
    ("Adam", {"learning_rate": 0.0625, **ADAM, "global_clipnorm": 1.0}),
    ("AdamW", {"learning_rate": 0.0625, **ADAM, "weight_decay": 0.25}),
    ("RMSprop", {"learning_rate": 0.0625, **RMS}),
    ("RMSprop", {"learning_rate": 0.0625, **RMS, "momentum": 0.5, "centered": True}),
    ("RMSprop", {"learning_rate": 0.0625, **RMS, "centered": True, "clipnorm": 1.0}),
    ("RMSprop", {"learning_rate": 0.0625, **RMS, "momentum": 0.5, "weight_decay": 0.125}),
    ("Adagrad", {"learning_rate": 0.125, "initial_accumulator_value": 0.25, "epsilon": EPSILON}),
    (
        "Adagrad",
        {"learning_rate": 0.125, "epsilon": EPSILON, "weight_decay": 0.125, "initial_accumulator_value": 1.0},
    ),
    ("Adadelta", {"learning_rate": 1.0, **RMS}),
    ("Adadelta", {"learning_rate": 0.5, **RMS, "weight_decay": 0.125}),
    ("Adamax", {"learning_rate": 0.0625, **ADAM}),
    ("Adamax", {"learning_rate": 0.0625, **ADAM, "weight_decay": 0.125, "clipvalue": 0.5}),
    ("Nadam", {"learning_rate": 0.0625, **ADAM}),
    ("Nadam", {"learning_rate": 0.0625, **ADAM, "weight_decay": 0.125}),
    ("Lion", {"learning_rate": 0.03125, "beta_1": 0.875, "beta_2": 0.9375}),
    ("Lion", {"learning_rate": 0.03125, "beta_1": 0.875, "beta_2": 0.9375, "weight_decay": 0.125}),
    # The defaults, as most people use them.
    *[
        (name, {})
        for name in ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "Adamax", "Nadam", "Lion"]
    ],
]
STEPS = 10


def add_optimizers(golden):
    start = [RNG.normal(size=(3, 4)), RNG.normal(size=5)]
    gradients = [[RNG.normal(size=(3, 4)), RNG.normal(size=5) * 0.3] for _ in range(STEPS)]
    for name, arguments in OPTIMIZERS:
        optimizer = getattr(keras.optimizers, name)(**arguments)
        variables = [keras.Variable(value, dtype="float64") for value in start]
        for step in gradients:
            optimizer.apply([tf.constant(g) for g in step], variables)
        arrays = {"start_0": start[0], "start_1": start[1]}
        arrays |= {"gradients_0": [g[0] for g in gradients], "gradients_1": [g[1] for g in gradients]}
        arrays |= {"end_0": variables[0].numpy(), "end_1": variables[1].numpy()}
        golden.add("optimizer", arrays, name=name, arguments=arguments)


START = {"initial_learning_rate": 0.5}
SCHEDULES = [
    ("ExponentialDecay", {**START, "decay_steps": 10, "decay_rate": 0.75}),
    ("ExponentialDecay", {**START, "decay_steps": 10, "decay_rate": 0.75, "staircase": True}),
    ("InverseTimeDecay", {**START, "decay_steps": 10, "decay_rate": 0.75}),
    ("InverseTimeDecay", {**START, "decay_steps": 10, "decay_rate": 0.75, "staircase": True}),
    ("PiecewiseConstantDecay", {"boundaries": [10, 25], "values": [1.0, 0.5, 0.25]}),
    ("PolynomialDecay", {**START, "decay_steps": 20, "end_learning_rate": 0.125, "power": 2.0}),
    ("PolynomialDecay", {**START, "decay_steps": 15, "cycle": True}),
    ("CosineDecay", {**START, "decay_steps": 30, "alpha": 0.125}),
    (
        "CosineDecay",
        {"initial_learning_rate": 0.0, "decay_steps": 30, "warmup_target": 0.5, "warmup_steps": 8},
    ),
    (
        "CosineDecay",
        {"initial_learning_rate": 0.125, "decay_steps": 9, "warmup_target": 0.5, "warmup_steps": 20},
    ),
    ("CosineDecayRestarts", {**START, "first_decay_steps": 7, "t_mul": 1.5, "m_mul": 0.75}),
    ("CosineDecayRestarts", {**START, "first_decay_steps": 7, "t_mul": 1.0, "alpha": 0.125}),
]
ONE_CYCLES = [
    {"max_learning_rate": 0.5, "total_steps": 50},
    {
        "max_learning_rate": 0.5,
        "total_steps": 37,
        "pct_start": 0.45,
        "div_factor": 10.0,
        "final_div_factor": 50.0,
    },
    {"max_learning_rate": 0.5, "total_steps": 20, "anneal_strategy": "linear"},
]
ALL_STEPS = 50


def add_schedules(golden):
    for name, arguments in SCHEDULES:
        schedule = getattr(keras.optimizers.schedules, name)(**arguments)
        rates = [float(schedule(step)) for step in range(ALL_STEPS)]
        golden.add("schedule", {"rates": rates}, name=name, arguments=arguments)
    for arguments in ONE_CYCLES:
        golden.add(
            "schedule", {"rates": one_cycle_of_torch(**arguments)}, name="OneCycle", arguments=arguments
        )


def one_cycle_of_torch(max_learning_rate, total_steps, **arguments):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_learning_rate, total_steps, **arguments)
    rates = [schedule.get_last_lr()[0]]
    for _ in range(total_steps - 1):
        optimizer.step()
        schedule.step()
        rates.append(schedule.get_last_lr()[0])
    return rates


METRICS = [
    ("BinaryAccuracy", {"threshold": 0.375}, "bits", "probabilities"),
    ("CategoricalAccuracy", {}, "one_hot", "scores"),
    ("SparseCategoricalAccuracy", {}, "labels", "scores"),
    ("TopKCategoricalAccuracy", {"k": 2}, "one_hot", "scores_32"),
    ("SparseTopKCategoricalAccuracy", {"k": 3}, "labels", "scores_32"),
    ("AUC", {}, "bits", "probabilities"),
    ("AUC", {"curve": "PR"}, "bits", "probabilities"),
    ("AUC", {"curve": "PR", "summation_method": "majoring"}, "bits", "probabilities"),
    ("AUC", {"summation_method": "minoring", "thresholds": [0.3, 0.6]}, "bits", "probabilities"),
    ("Precision", {}, "bits", "probabilities"),
    ("Precision", {"thresholds": [0.25, 0.75]}, "bits", "probabilities"),
    ("Recall", {"class_id": 2}, "bits", "probabilities"),
    ("Precision", {"top_k": 2}, "one_hot", "probabilities"),
    ("Recall", {"top_k": 2, "class_id": 1}, "one_hot", "probabilities"),
    ("TruePositives", {}, "bits", "probabilities"),
    ("FalsePositives", {"thresholds": [0.25, 0.5]}, "bits", "probabilities"),
    ("TrueNegatives", {}, "bits", "probabilities"),
    ("FalseNegatives", {}, "bits", "probabilities"),
    ("F1Score", {}, "one_hot", "probabilities"),
    ("F1Score", {"average": "weighted"}, "one_hot", "probabilities"),
    ("FBetaScore", {"average": "micro", "beta": 2.0, "threshold": 0.5}, "bits", "probabilities"),
    ("MeanSquaredError", {}, "real", "scores"),
    ("RootMeanSquaredError", {}, "real", "scores"),
    ("MeanAbsoluteError", {}, "real", "scores"),
    ("MeanAbsolutePercentageError", {}, "real", "scores"),
    ("MeanSquaredLogarithmicError", {}, "positive", "scores"),
    ("LogCoshError", {}, "real", "scores"),
    ("CosineSimilarity", {}, "real", "scores"),
    ("R2Score", {}, "real", "scores"),
    ("R2Score", {"class_aggregation": "variance_weighted_average"}, "real", "scores"),
    ("R2Score", {"num_regressors": 3}, "real", "scores"),
    ("Hinge", {}, "bits", "scores"),
    ("CategoricalHinge", {}, "one_hot", "scores"),
    ("KLDivergence", {}, "distribution", "probabilities"),
    ("Poisson", {}, "positive", "probabilities"),
    ("BinaryCrossentropy", {"label_smoothing": 0.125}, "bits", "probabilities"),
    ("CategoricalCrossentropy", {}, "one_hot", "probabilities"),
    ("SparseCategoricalCrossentropy", {"from_logits": True}, "labels", "scores"),
]


def add_metrics(golden):
    batches = [loss_inputs() for _ in range(3)]
    weights = RNG.uniform(0, 2, (3, N))
    for name, arguments, true_name, pred_name in METRICS:
        plain, weighted = (getattr(keras.metrics, name)(**arguments) for _ in range(2))
        for batch, weight in zip(batches, weights):
            plain.update_state(batch[true_name], batch[pred_name])
            weighted.update_state(batch[true_name], batch[pred_name], sample_weight=weight)
        arrays = {
            "y_true": [batch[true_name] for batch in batches],
            "y_pred": [batch[pred_name] for batch in batches],
            "weights": weights,
            "plain": plain.result(),
            "weighted": weighted.result(),
        }
        golden.add("metric", arrays, name=name, arguments=arguments)


CONSTRAINTS = [
    ("MaxNorm", {"max_value": 1.5, "axis": [0, 1, 2]}),
    ("MaxNorm", {"max_value": 0.5}),
    ("NonNeg", {}),
    ("UnitNorm", {"axis": [0, 1, 2]}),
    ("MinMaxNorm", {"min_value": 0.5, "max_value": 1.0, "rate": 0.75, "axis": [0, 1]}),
]
REGULARIZERS = [
    ("L1", {"l1": 0.25}),
    ("L2", {"l2": 0.125}),
    ("L1L2", {"l1": 0.25, "l2": 0.125}),
    ("OrthogonalRegularizer", {"factor": 0.5, "mode": "rows"}),
    ("OrthogonalRegularizer", {"factor": 0.5, "mode": "columns"}),
]


def add_constraints_and_regularizers(golden):
    kernel, matrix = RNG.normal(size=(3, 3, 2, 4)), RNG.normal(size=(6, 4))
    for name, arguments in CONSTRAINTS:
        projected = getattr(keras.constraints, name)(**arguments)(tf.constant(kernel)).numpy()
        golden.add("constraint", {"w": kernel, "projected": projected}, name=name, arguments=arguments)
    for name, arguments in REGULARIZERS:
        if name == "OrthogonalRegularizer":  # fails in float64
            matrix = matrix.astype("float32")
        penalty, grad = gradient_of(getattr(keras.regularizers, name)(**arguments), matrix)
        arrays = {"w": matrix, "penalty": penalty, "gradient": grad}
        golden.add("regularizer", arrays, name=name, arguments=arguments)


FAMILIES = (
    add_activations,
    add_losses,
    add_optimizers,
    add_schedules,
    add_metrics,
    add_constraints_and_regularizers,
)


def main():
    keras.backend.set_floatx("float64")
    golden = Golden()
    for add in FAMILIES:
        add(golden)
    golden.write()
    print(f"{len(golden.records)} records, {PATH.stat().st_size / 1024:.0f} KB in {PATH}")


if __name__ == "__main__":
    main()
