"""Optimisers, one file each: a step is written once, for arrays of NumPy and for emitted code alike.

`UPDATES` is the table of them, by the name of the operator: the reference engine, the kernels, the recorder
and the explanations of updates all read it. What its entries are made of is in `rule`.
"""

from kernelearn.engine.updates import (
    adadelta,
    adafactor,
    adagrad,
    adam,
    adamax,
    ftrl,
    lamb,
    lion,
    muon,
    nadam,
    rmsprop,
    schedule_free_adamw,
    sgd,
)
from kernelearn.engine.updates.rule import Update

UPDATES: dict[str, Update] = {
    "sgd_update": sgd.UPDATE,
    "adam_update": adam.UPDATE,
    "rmsprop_update": rmsprop.UPDATE,
    "adagrad_update": adagrad.UPDATE,
    "adadelta_update": adadelta.UPDATE,
    "adamax_update": adamax.UPDATE,
    "nadam_update": nadam.UPDATE,
    "lion_update": lion.UPDATE,
    "ftrl_update": ftrl.UPDATE,
    "lamb_update": lamb.UPDATE,
    "adafactor_update": adafactor.UPDATE,
    "muon_update": muon.UPDATE,
    "schedule_free_adamw_update": schedule_free_adamw.UPDATE,
}
