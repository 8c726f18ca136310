"""Rewrites from Program to Program before code is made: what can be done in one pass over memory.

One a file, each with before and after at its top, and with a test that runs the program before and after on
the reference engine. `REWRITES` is their order.
"""

from __future__ import annotations

from kernelearn.engine.cpu.rewrites.chains import fuse_chains
from kernelearn.engine.cpu.rewrites.early_updates import update_early
from kernelearn.engine.cpu.rewrites.normalization.batchnorm_gradient import split_gradient
from kernelearn.engine.cpu.rewrites.normalization.batchnorm_statistics import split_statistics
from kernelearn.engine.cpu.rewrites.normalization.mean_and_variance import find_at_once
from kernelearn.engine.cpu.rewrites.normalization.normalization_coefficients import use_coefficients
from kernelearn.engine.cpu.rewrites.pixels.gradients_before_pooling import take_before_pooling
from kernelearn.engine.cpu.rewrites.pixels.pixels_of_steps import take_pixels
from kernelearn.engine.cpu.rewrites.pixels.places_of_steps import place_pixels
from kernelearn.engine.cpu.rewrites.pixels.unread_pixels import crop_unread
from kernelearn.engine.cpu.rewrites.pointwise_after_depthwise import join_pointwise
from kernelearn.engine.cpu.rewrites.pooled_chains import pool_at_once
from kernelearn.engine.cpu.rewrites.relu_gradient import read_output
from kernelearn.engine.cpu.rewrites.repeated_operations import do_once
from kernelearn.engine.cpu.rewrites.rewrite import Rewrite, in_order
from kernelearn.engine.cpu.rewrites.shapes import ask_inputs
from kernelearn.engine.cpu.rewrites.sums_of_products import take_out_factors
from kernelearn.engine.cpu.rewrites.turned_products import take_orders
from kernelearn.engine.cpu.rewrites.updates_at_once import update_at_once
from kernelearn.engine.program import Program

__all__ = ["REWRITES", "Rewrite", "in_order", "optimise"]

REWRITES = in_order(
    Rewrite("relu gradient", read_output),
    Rewrite("gradients before pooling", take_before_pooling, after=("relu gradient",)),
    Rewrite("unread pixels", crop_unread, after=("gradients before pooling",)),
    Rewrite("pixels of steps", take_pixels, after=("unread pixels",)),
    Rewrite("places of steps", place_pixels, after=("unread pixels",)),
    Rewrite("batchnorm statistics", split_statistics),
    Rewrite("batchnorm gradient", split_gradient, after=("batchnorm statistics",)),
    Rewrite("normalization coefficients", use_coefficients, after=("batchnorm gradient",)),
    Rewrite("turned products", take_orders),
    Rewrite("repeated operations", do_once, after=("normalization coefficients",)),
    Rewrite("mean and variance", find_at_once, after=("repeated operations",)),
    Rewrite("sums of products", take_out_factors, after=("mean and variance",)),
    Rewrite("repeated sums", do_once, after=("sums of products",)),
    Rewrite("shapes", ask_inputs, after=("sums of products",)),
    Rewrite("chains", fuse_chains, after=("unread pixels", "repeated sums", "shapes", "turned products")),
    Rewrite("pooled chains", pool_at_once, after=("chains",)),
    Rewrite("pointwise after depthwise", join_pointwise, after=("pooled chains",)),
    Rewrite("early updates", update_early, after=("pooled chains",)),
    Rewrite("updates at once", update_at_once, after=("early updates",)),
)


def optimise(program: Program) -> Program:
    """All rewrites in their order."""
    for rewrite in REWRITES:
        program = rewrite(program)
    return program
