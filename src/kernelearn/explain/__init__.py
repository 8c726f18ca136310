"""Explanations: why every weight changed, and what every kernel is and sees.

Everything here reads arrays, recorded runs and models, and computes; `view` draws the results. Each public
name is imported when it is first used: `from kernelearn import explain` itself loads nothing.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

# Public name -> the module of this package that defines it: one entry a line, in the order of the sections.
_OBJECTS = {
    # Ledger: every term of the gradient of one weight.
    "ledger": "ledger",
    "Ledger": "ledger",
    "Contribution": "top_terms",
    "factors_of": "model_factors",
    "gradient_of": "gradients",
    "gradient_by_image": "gradients",
    # Update split: what the optimiser makes of the gradient, in one step and over a run.
    "update_split": "update_split",
    "UpdateSplit": "update_split",
    "split_update": "update_split",
    "history": "contributions",
    "History": "contributions",
    # Dense equivalent: a convolution written as a sparse matrix with tied entries.
    "dense_equivalent": "dense_equivalent",
    "DenseEquivalent": "tied_matrix",
    "ChainEquivalent": "tied_matrix",
    # Filter bank, learning curves, what a kernel sees.
    "learning_curves": "learning_curves",
    "compare_layers": "learning_curves",
    "LearningCurves": "learning_curves",
    "kernel_health": "kernel_health",
    "KernelHealth": "kernel_health",
    "channel_activity": "channel_activity",
    "filter_bank": "filter_bank",
    "filter_bank_history": "filter_bank",
    "FilterBank": "filter_bank",
    "kernel_shape": "kernel_shape",
    "frequency_response": "kernel_shape",
    "feature_maps": "feature_maps",
    "top_patches": "patches",
    "saliency": "saliency",
    "smooth_grad": "saliency",
    "integrated_gradients": "saliency",
    "grad_cam": "grad_cam",
    "activation_maximization": "activation_maximization",
    "effective_receptive_field": "effective_receptive_field",
    "receptive_field": "receptive_field",
    "receptive_fields": "receptive_field",
    "ReceptiveField": "receptive_field",
    "Table": "table",
    # Experiments.
    "run_experiment": "experiments",
    "ExperimentResult": "experiments",
    "ExperimentSettings": "experiments",
    # Figures and report: what is meant if nothing is said. `explain.plot_...` are the figures of `view`.
    "moved_most": "choices",
    "batch_images": "choices",
}


class _Package(ModuleType):
    """This package: `explain.ledger` is the function, although a module of that name defines it.

    Importing a module makes it an attribute of its package, which would hide the function of the same name;
    public names are left alone. `from kernelearn.explain.ledger import ...` finds the module as always.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _OBJECTS and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562) and keep it."""
    if name in _OBJECTS:
        value = getattr(import_module(f"kernelearn.explain.{_OBJECTS[name]}"), name)
        globals()[name] = value
        return value
    if name.startswith("plot_"):
        # NOTE: the one look upwards, by name and on use alone: no module here depends on `view`.
        return getattr(import_module("kernelearn.view"), name)
    raise AttributeError(
        f"module 'kernelearn.explain' has no attribute {name!r}; public names: {', '.join(_OBJECTS)}"
    )


def __dir__() -> list[str]:
    return sorted(_OBJECTS)


sys.modules[__name__].__class__ = _Package
