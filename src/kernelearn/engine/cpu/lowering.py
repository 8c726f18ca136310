"""From operations to kernel calls: the table of rules, and the walk through a program.

A rule is `rule(plan, operation) -> bool`: it adds calls to the plan and returns True, or it returns False.
`RULES` names the rules of every operator, special ones first; the first that can wins. What none can do is
left to the reference engine.
"""

from __future__ import annotations

from collections.abc import Callable

from kernelearn.engine.cpu.kernels import (
    averages,
    choosing,
    constants,
    dense,
    fused,
    random,
    shaping,
    updates,
)
from kernelearn.engine.cpu.kernels.convolution.filtered_rows.gradient import lower_filtered_gradient
from kernelearn.engine.cpu.kernels.convolution.gradient import lower_gradient
from kernelearn.engine.cpu.kernels.convolution.winograd.gradient import lower_winograd_gradient
from kernelearn.engine.cpu.kernels.doubles import are_doubles, as_floats
from kernelearn.engine.cpu.kernels.entrywise.chain import lower_single
from kernelearn.engine.cpu.kernels.entrywise.channel_scale import lower_scale
from kernelearn.engine.cpu.kernels.entrywise.emitters import EMITTERS
from kernelearn.engine.cpu.kernels.fixed_images import as_images, fixed_images
from kernelearn.engine.cpu.kernels.images import augmentation, resampling, warping
from kernelearn.engine.cpu.kernels.losses import loss
from kernelearn.engine.cpu.kernels.matrix_tiles.gradient import (
    lower_tile_gradient,
    lower_tile_row_weights,
)
from kernelearn.engine.cpu.kernels.matrix_tiles.weight_gradient import lower_tile_weights
from kernelearn.engine.cpu.kernels.normalization import batch, coefficients, images
from kernelearn.engine.cpu.kernels.norms import clipping, constraints, penalties
from kernelearn.engine.cpu.kernels.pooling import pooling
from kernelearn.engine.cpu.kernels.products.summed import lower_pointwise_gradient, lower_summed
from kernelearn.engine.cpu.kernels.products.weight_panels import lower_weight_panels
from kernelearn.engine.cpu.kernels.reductions import running
from kernelearn.engine.cpu.kernels.reductions.kinds import KINDS
from kernelearn.engine.cpu.kernels.reductions.reduced import lower_reduction
from kernelearn.engine.cpu.kernels.softmax.rows import lower_along_axis
from kernelearn.engine.cpu.kernels.sums_at_once import add_at_once
from kernelearn.engine.cpu.machine.target import Target
from kernelearn.engine.cpu.plan import Fallback, Plan
from kernelearn.engine.program import Operation, Program
from kernelearn.engine.updates import UPDATES

Rule = Callable[[Plan, Operation], bool]

RULES: dict[str, tuple[Rule, ...]] = {
    **fused.ANCHORS,
    "fused": (fused.lower_fused,),
    "conv_grad_kernel": (
        lower_tile_gradient,
        lower_winograd_gradient,
        lower_filtered_gradient,
        lower_pointwise_gradient,
        lower_gradient,
    ),
    "dense_grad_kernel": (
        lower_tile_weights,
        lower_tile_row_weights,
        lower_weight_panels,
        lower_summed,
        dense.lower_weights,
    ),
    # entry by entry
    **dict.fromkeys(EMITTERS, (lower_single,)),
    "scale": (lower_single, lower_scale),
    "stop_gradient": (shaping.lower_same, lower_single),
    # normalisation
    "batch_statistics": (batch.lower_statistics,),
    "normalize": (batch.lower_normalize, images.lower_image_normalize),
    "normalize_grad": (batch.lower_normalize_grad, images.lower_image_normalize_grad),
    "batch_norm_sums": (batch.lower_sums,),
    "batch_norm_coefficients": (batch.lower_grad_coefficients,),
    "affine_coefficients": (coefficients.lower_coefficients,),
    # softmax and losses
    "softmax": (lower_along_axis,),
    "softmax_grad": (lower_along_axis,),
    "log_softmax": (lower_along_axis,),
    "log_softmax_grad": (lower_along_axis,),
    "loss": (loss.lower_loss,),
    "loss_grad": (loss.lower_loss_grad,),
    # reductions
    **dict.fromkeys(KINDS, (lower_reduction,)),
    "image_count": (running.lower_count,),
    "argmax": (running.lower_place,),
    "argmin": (running.lower_place,),
    "cumsum": (running.lower_running,),
    "cumprod": (running.lower_running,),
    "cumprod_grad": (running.lower_product_gradient,),
    # windows and sizes
    "max_pool": (pooling.lower_max_pool,),
    "max_pool_take": (pooling.lower_max_pool_take,),
    "max_pool_grad": (pooling.lower_max_pool_grad,),
    "average_pool": (pooling.lower_average_pool,),
    "average_pool_grad": (pooling.lower_average_pool_grad,),
    "upsample": (pooling.lower_upsample, resampling.lower_smooth_upsample),
    "upsample_grad": (pooling.lower_upsample_grad, resampling.lower_smooth_upsample_grad),
    "resize": (resampling.lower_resize,),
    "resize_grad": (resampling.lower_resize_grad,),
    # moving numbers
    "reshape": (shaping.lower_reshape,),
    "fix_images": (shaping.lower_same,),
    "open_images": (shaping.lower_same,),
    "slice": (shaping.lower_slice,),
    "strided_slice": (shaping.lower_strided_slice,),
    "strided_place": (shaping.lower_strided_place,),
    "broadcast_to": (shaping.lower_broadcast_to,),
    "pad": (shaping.lower_pad,),
    "concatenate": (shaping.lower_concatenate,),
    "transpose": (shaping.lower_transpose,),
    # choosing by numbers; sorting is left to the reference engine
    "gather": (choosing.lower_gather,),
    "scatter_add": (choosing.lower_scatter_add,),
    "gather_along": (choosing.lower_gather_along,),
    "scatter_add_along": (choosing.lower_scatter_add_along,),
    "one_hot": (choosing.lower_one_hot,),
    "fill_like": (choosing.lower_fill_like,),
    **dict.fromkeys(
        (
            "flat_index",
            "scatter_set",
            "is_last",
            "segment_max",
            "segment_max_grad",
            "argsort",
            "searchsorted",
        ),
        (),
    ),
    # random numbers, and images changed by them
    "dropout": (random.lower_dropout,),
    "random_uniform": (random.lower_random_uniform,),
    "draw": (random.lower_draw,),
    "draw_gamma": (),
    "draw_binomial": (),
    "gaussian_noise": (random.lower_gaussian_noise,),
    "flip": (augmentation.lower_flip,),
    "crop": (augmentation.lower_crop,),
    "crop_grad": (augmentation.lower_crop_grad,),
    "contrast": (augmentation.lower_contrast,),
    "contrast_grad": (augmentation.lower_contrast_grad,),
    "affine_map": (warping.lower_affine_map,),
    "warp": (warping.lower_warp,),
    "warp_grad": (warping.lower_warp_grad,),
    # weights: sums of them, limits, steps
    "global_norm": (clipping.lower_global_norm,),
    "clip_by_norm": (clipping.lower_clip_by_norm,),
    "clip_by_global_norm": (clipping.lower_clip_by_global_norm,),
    "penalty": (penalties.lower_penalty,),
    "activity_penalty": (penalties.lower_activity_penalty,),
    "activity_penalty_grad": (penalties.lower_activity_penalty_grad,),
    "fill": (constants.lower_fill,),
    "constrain": (constraints.lower_constrain,),
    "accumulate": (averages.lower_accumulate,),
    "add_share": (averages.lower_add_share,),
    "average_weight": (averages.lower_average_weight,),
    "overwrite_weight": (averages.lower_overwrite_weight,),
    **dict.fromkeys(UPDATES, (updates.lower_update,)),
}


def lower(program: Program, target: Target, keeps_constants: bool = True) -> Plan:
    """The plan of a program.

    Args:
        keeps_constants: see `Plan`.
    """
    plan = Plan(program, target, dict(program.buffers), keeps_constants=keeps_constants)
    written = {name for op in program.operations if op.phase == "update" for name in op.outputs}
    plan.constant = {b.name for b in program.weights() if b.name not in written}
    for operation in program.operations:
        lower_operation(plan, operation)
    add_at_once(plan)
    return plan


def lower_operation(plan: Plan, operation: Operation) -> None:
    """Add one operation to the plan: by the first rule that can, a fused one perhaps part by part."""
    if _is_lowered(plan, operation):
        return
    if operation.operator == "fused":
        for part in operation.attrs["body"].operations:
            lower_operation(plan, part)
        return
    plan.steps.append(Fallback(operation))


def _is_lowered(plan: Plan, operation: Operation) -> bool:
    """Whether a rule could add the operation to the plan."""
    if are_doubles(plan, operation):
        with as_floats(plan, operation):
            return _is_lowered_by_rule(plan, operation)
    return _is_lowered_by_rule(plan, operation)


def _is_lowered_by_rule(plan: Plan, operation: Operation) -> bool:
    rules, count = RULES.get(operation.operator, ()), fixed_images(plan, operation)
    if count is None:
        return any(rule(plan, operation) for rule in rules)
    with as_images(plan, operation, count):
        return any(rule(plan, operation) for rule in rules)
