"""The table: operator of our programs -> the rule that writes it."""

from __future__ import annotations

from kernelearn.conversion.onnx.writing import activations, entrywise, moving, windows
from kernelearn.conversion.onnx.writing.entrywise import Rule
from kernelearn.conversion.onnx.writing.graph import Writer
from kernelearn.engine.program import Operation


def _standardize(w: Writer, op: Operation) -> None:
    windows.standardize(w, op, entrywise.RULES["standardize"])


RULES: dict[str, Rule] = {
    **entrywise.RULES,
    **activations.RULES,
    "conv": windows.conv,
    "conv_transpose": windows.conv_transpose,
    "max_pool": windows.pool,
    "average_pool": windows.pool,
    "dense": windows.dense,
    "dense_grad_input": windows.dense_back,
    "matmul": windows.matmul,
    "softmax": windows.softmax,
    "log_softmax": windows.softmax,
    "standardize": _standardize,
    "normalize": windows.normalize,
    "stop_gradient": moving.same,
    "reshape": moving.reshape,
    "transpose": moving.transpose,
    "slice": moving.cut,
    "strided_slice": moving.cut,
    "broadcast_to": moving.broadcast_to,
    "pad": moving.pad,
    "concatenate": moving.concatenate,
    "upsample": moving.upsample,
    "resize": moving.resize,
    "gather": moving.gather,
    "gather_along": moving.gather_along,
    "one_hot": moving.one_hot,
    "fill_like": moving.fill_like,
    "reduce_mean": moving.reduction("ReduceMean"),
    "reduce_max": moving.reduction("ReduceMax"),
    "reduce_min": moving.reduction("ReduceMin"),
    "reduce_prod": moving.reduction("ReduceProd"),
    "sum_to": moving.sum_to,
    "argmax": moving.place("ArgMax"),
    "argmin": moving.place("ArgMin"),
    "cumsum": moving.cumsum,
    "argsort": moving.argsort,
    "image_count": moving.image_count,
}
