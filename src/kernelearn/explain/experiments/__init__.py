"""Experiments that answer standing questions about kernels with numbers: several seeds, equal budgets.

Each is an `Experiment`: named conditions, each of which makes a network; `run_experiment` trains them alike
on the same images and gives an `ExperimentResult`. One file each; `kernelearn experiment NAME` runs them.
"""

from kernelearn.explain.experiments.activation import Activation
from kernelearn.explain.experiments.augmentation import Augmentation
from kernelearn.explain.experiments.base import Experiment, ExperimentSettings
from kernelearn.explain.experiments.catalogue import EXPERIMENTS
from kernelearn.explain.experiments.depth import Depth
from kernelearn.explain.experiments.frozen import Frozen
from kernelearn.explain.experiments.initialisation import Initialisation
from kernelearn.explain.experiments.pooling import Pooling
from kernelearn.explain.experiments.problem import Draw, Problem
from kernelearn.explain.experiments.result import ExperimentResult, Row
from kernelearn.explain.experiments.runner import Progress, run_experiment
from kernelearn.explain.experiments.sharing import Sharing
from kernelearn.explain.experiments.spread import Comparison, Summary
from kernelearn.explain.experiments.transfer import Transfer

__all__ = [
    "EXPERIMENTS",
    "Activation",
    "Augmentation",
    "Comparison",
    "Depth",
    "Draw",
    "Experiment",
    "ExperimentResult",
    "ExperimentSettings",
    "Frozen",
    "Initialisation",
    "Pooling",
    "Problem",
    "Progress",
    "Row",
    "Sharing",
    "Summary",
    "Transfer",
    "run_experiment",
]
