"""Which experiments there are, by the names that commands know them by."""

from kernelearn.explain.experiments.activation import Activation
from kernelearn.explain.experiments.augmentation import Augmentation
from kernelearn.explain.experiments.base import Experiment
from kernelearn.explain.experiments.depth import Depth
from kernelearn.explain.experiments.frozen import Frozen
from kernelearn.explain.experiments.initialisation import Initialisation
from kernelearn.explain.experiments.pooling import Pooling
from kernelearn.explain.experiments.sharing import Sharing
from kernelearn.explain.experiments.transfer import Transfer

EXPERIMENTS: dict[str, type[Experiment]] = {
    one.name: one
    for one in (Frozen, Initialisation, Activation, Pooling, Augmentation, Sharing, Transfer, Depth)
}
