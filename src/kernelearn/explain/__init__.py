"""Explanations: why every weight changed, and what every kernel is and sees.

Everything here reads arrays, recorded runs and models, and computes; `view` draws the results. Each public
name is imported when it is first used: `from kernelearn import explain` itself loads nothing.
"""

from collections.abc import Callable
from typing import Any

from kernelearn._lazy import on_first_use

# Public name -> the module of this package that defines it: one entry a line, in the order of the sections.
_OBJECTS = {
    # Ledger: every term of the gradient of one weight.
    "ledger": "gradient.ledgers",
    "Ledger": "gradient.ledgers",
    "Contribution": "gradient.terms",
    "factors_of": "gradient.model_factors",
    "gradient_of": "gradient.whole_gradients",
    "gradient_by_image": "gradient.whole_gradients",
    # Update split: what the optimiser makes of the gradient, in one step and over a run.
    "update_split": "update.run_updates",
    "UpdateSplit": "update.splits",
    "split_update": "update.splits",
    "history": "update.histories",
    "History": "update.histories",
    # One number of a feature map: how it comes about, and where its error comes from.
    "unit": "passes.forward",
    "Unit": "passes.forward",
    "delta": "passes.backward",
    "ErrorPath": "passes.backward",
    "image": "passes.image",
    "ImagePass": "passes.image",
    "activation": "passes.activations",
    "activation_history": "passes.activations",
    "Activation": "passes.activations",
    "joint": "passes.joint",
    "geometry": "passes.geometry",
    "geometry_of": "passes.geometry",
    "Geometry": "passes.geometry",
    # Dense equivalent: a convolution written as a sparse matrix with tied entries.
    "dense_equivalent": "kernel.matrices",
    "DenseEquivalent": "kernel.tied_matrix",
    "ChainEquivalent": "kernel.tied_matrix",
    # Filter bank, learning curves, what a kernel sees.
    "learning_curves": "kernel.curves",
    "compare_layers": "kernel.curves",
    "LearningCurves": "kernel.curves",
    # What fine-tuning made of a network.
    "movement": "kernel.movement",
    "Movement": "kernel.movement",
    "kernel_health": "kernel.health",
    "KernelHealth": "kernel.health",
    "channel_activity": "kernel.activity",
    "filter_bank": "kernel.filter_banks",
    "filter_bank_history": "kernel.filter_banks",
    "FilterBank": "kernel.filter_banks",
    "kernel_shape": "kernel.shapes",
    "frequency_response": "kernel.shapes",
    "feature_maps": "sight.maps",
    "top_patches": "sight.patches",
    "saliency": "sight.attributions",
    "smooth_grad": "sight.attributions",
    "integrated_gradients": "sight.attributions",
    "grad_cam": "sight.class_maps",
    "activation_maximization": "sight.preferred_images",
    "effective_receptive_field": "sight.effective_fields",
    "receptive_field": "sight.fields",
    "receptive_fields": "sight.fields",
    "ReceptiveField": "sight.fields",
    "Table": "table",
    # What stands out in a run; runs beside each other.
    "hints": "findings",
    "Hint": "findings",
    "compare_runs": "comparison",
    "RunComparison": "comparison",
    # Experiments.
    "run_experiment": "experiments",
    "ExperimentResult": "experiments",
    "ExperimentSettings": "experiments",
    # Figures and report: what is meant if nothing is said. `explain.plot_...` are the figures of `view`.
    "moved_most": "choices",
    "batch_images": "choices",
}

__all__ = [*_OBJECTS]

__getattr__: Callable[[str], Any]
__dir__: Callable[[], list[str]]
# NOTE: the figures are the one look upwards, by name and on use alone: no module here depends on `view`.
__getattr__, __dir__ = on_first_use(
    __name__,
    {name: f"{__name__}.{module}" for name, module in _OBJECTS.items()},
    others={"plot_": "kernelearn.view"},
)
