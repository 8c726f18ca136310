"""Learning the kernel function by convex optimisation: scikit-learn estimators.

Four classical methods (Lanckriet et al. 2004, Ong et al. 2005, Micchelli and Pontil 2005, Kim et al. 2006 and
2008), multiple kernel learning with its baselines, and their use on the layers of trained networks.
Needs the extra `kernels`.
"""

from kernelearn._optional import require

require("sklearn.base", "kernelearn.kernel_machines")
require("scipy.optimize", "kernelearn.kernel_machines")

from kernelearn.kernel_machines.estimators.convex_hull import (  # noqa: E402
    ConvexHullKernelClassifier,
    ConvexHullKernelRegressor,
)
from kernelearn.kernel_machines.estimators.convex_learner import ConvexKernelLearner  # noqa: E402
from kernelearn.kernel_machines.estimators.feature_kernels import FeatureKernels, KernelHead  # noqa: E402
from kernelearn.kernel_machines.estimators.hyperkernel import (  # noqa: E402
    HyperkernelClassifier,
    HyperkernelOneClass,
    HyperkernelRegressor,
)
from kernelearn.kernel_machines.estimators.multiple import MultipleKernelClassifier  # noqa: E402
from kernelearn.kernel_machines.estimators.one_class import MultipleKernelOneClass  # noqa: E402
from kernelearn.kernel_machines.estimators.semidefinite import SemidefiniteKernelClassifier  # noqa: E402
from kernelearn.kernel_machines.kernels.functions import (  # noqa: E402
    Kernel,
    default_bank,
    on_blocks,
    poly_bank,
    rbf_bank,
)
from kernelearn.kernel_machines.kernels.tangent import empirical_ntk  # noqa: E402
from kernelearn.kernel_machines.solvers.column_generation import Certificate  # noqa: E402

__all__ = [
    "Certificate",
    "ConvexHullKernelClassifier",
    "ConvexHullKernelRegressor",
    "ConvexKernelLearner",
    "FeatureKernels",
    "HyperkernelClassifier",
    "HyperkernelOneClass",
    "HyperkernelRegressor",
    "Kernel",
    "KernelHead",
    "MultipleKernelClassifier",
    "MultipleKernelOneClass",
    "SemidefiniteKernelClassifier",
    "default_bank",
    "empirical_ntk",
    "on_blocks",
    "poly_bank",
    "rbf_bank",
]
