"""How every operator of a model in inference looks back at its inputs: one entry each, with both rules.

An operator that is missing here stops receptive fields, patches and the crops of ledgers with an error that
names it. A new one needs both of its rules, in `support_rules` and `window_rules`.
"""

from __future__ import annotations

from typing import NamedTuple

from kernelearn.engine.operators.functions import CONDITIONS, PAIR_SLOPES, SLOPES
from kernelearn.explain.sight import support_rules as support
from kernelearn.explain.sight import window_rules as window


class GeometryRule(NamedTuple):
    """Rules of one operator: wanted outputs -> the numbers of each input that they are computed from.

    support: exact sets. window: one interval an axis, unclipped.
    """

    support: support.Rule
    window: window.Rule


_ENTRY_BY_ENTRY = GeometryRule(support.entry_by_entry_rule, window.entry_by_entry_rule)
_ALONG_AXIS = GeometryRule(support.along_axis_rule, window.along_axis_rule)
_POOL = GeometryRule(support.pool_rule, window.pool_rule)
_REDUCE = GeometryRule(support.reduce_rule, window.reduce_rule)

_FUNCTIONS = (*SLOPES, *PAIR_SLOPES, *CONDITIONS, "power_by", "cast", "stop_gradient", "where")

GEOMETRY_RULES: dict[str, GeometryRule] = {
    "argsort": _ALONG_AXIS,
    **dict.fromkeys(_FUNCTIONS, _ENTRY_BY_ENTRY),
    "activation": _ENTRY_BY_ENTRY,
    "add": _ENTRY_BY_ENTRY,
    "affine": _ENTRY_BY_ENTRY,
    "average_pool": _POOL,
    "bias_add": _ENTRY_BY_ENTRY,
    "broadcast_to": _ENTRY_BY_ENTRY,
    "concatenate": GeometryRule(support.concatenate_rule, window.concatenate_rule),
    "conv": GeometryRule(support.conv_rule, window.conv_rule),
    "conv_transpose": GeometryRule(support.conv_transpose_rule, window.conv_transpose_rule),
    "dense": GeometryRule(support.dense_rule, window.dense_rule),
    "dense_grad_input": GeometryRule(support.dense_rule, window.dense_rule),
    "dropout": _ENTRY_BY_ENTRY,
    "fill": GeometryRule(support.source_rule, window.source_rule),
    "fill_like": _ENTRY_BY_ENTRY,
    "gather": GeometryRule(support.gather_rule, window.gather_rule),
    "gather_along": GeometryRule(support.gather_along_rule, window.gather_along_rule),
    "gaussian_noise": _ENTRY_BY_ENTRY,
    "log_softmax": _ALONG_AXIS,
    "matmul": GeometryRule(support.matmul_rule, window.matmul_rule),
    "max_pool": _POOL,
    "maximum": _ENTRY_BY_ENTRY,
    "minimum": _ENTRY_BY_ENTRY,
    "multiply": _ENTRY_BY_ENTRY,
    "normalize": _ALONG_AXIS,
    "pad": GeometryRule(support.pad_rule, window.pad_rule),
    "prelu": _ENTRY_BY_ENTRY,
    "reduce_max": _REDUCE,
    "reduce_mean": _REDUCE,
    "reduce_min": _REDUCE,
    "reduce_prod": _REDUCE,
    "reshape": GeometryRule(support.reshape_rule, window.reshape_rule),
    "resize": GeometryRule(support.resize_rule, window.resize_rule),
    "scale": _ENTRY_BY_ENTRY,
    "slice": GeometryRule(support.slice_rule, window.slice_rule),
    "softmax": _ALONG_AXIS,
    "standardize": _ENTRY_BY_ENTRY,
    "strided_place": GeometryRule(support.strided_place_rule, window.strided_place_rule),
    "strided_slice": GeometryRule(support.strided_slice_rule, window.strided_slice_rule),
    "sum_to": GeometryRule(support.sum_to_rule, window.sum_to_rule),
    "subtract": _ENTRY_BY_ENTRY,
    "transpose": GeometryRule(support.transpose_rule, window.transpose_rule),
    "unstandardize": _ENTRY_BY_ENTRY,
    "upsample": GeometryRule(support.upsample_rule, window.upsample_rule),
}


def is_entry_by_entry(operator: str) -> bool:
    """Whether each result of an operator depends on one number of each input, at its own place."""
    return GEOMETRY_RULES.get(operator) is _ENTRY_BY_ENTRY
