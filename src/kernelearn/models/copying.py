"""Models as pickles and copies: config, weights and everything that training goes on from.

Optimizer, losses and metrics go as the objects that they are; programs and compiled code are made again.
"""

from __future__ import annotations

from typing import Any

from kernelearn._serializable import by_reference
from kernelearn.engine.variable import Variable
from kernelearn.initializers.from_layer import values_follow
from kernelearn.layers.core.base import LAYERS
from kernelearn.models.model import Model
from kernelearn.training.input_range import InputRange


def frozen(model: Model) -> dict[str, Any]:
    """Everything about a model, in objects that can be pickled.

    Raises: ArgumentError for a layer that has no config.
    """
    with by_reference():
        config = LAYERS.serialize(model)
    state: dict[str, Any] = {
        "model": config,
        "weights": model.get_weights(),
        "metadata": model.metadata,
        "input_range": model.input_range.largest,
    }
    programs = model.programs
    if programs.arguments is not None:
        optimizer = programs.compiled_optimizer()
        state["compile"] = (optimizer, programs.arguments, programs.engine, programs.policy)
        state["without_decay"] = [
            i for i, w in enumerate(model.weights) if not optimizer.uses_weight_decay(w)
        ]
        state["slots"] = {name: slot.numpy() for name, slot in programs.slots.items()}
    return state


def revived(state: dict[str, Any]) -> Model:
    """The model that `frozen` was given."""
    with values_follow():
        model: Model = LAYERS.get(state["model"])
    model.set_weights(state["weights"])
    model.metadata = state["metadata"]
    model.input_range = InputRange(state["input_range"])
    if "compile" in state:
        optimizer, arguments, engine, policy = state["compile"]
        optimizer.exclude_from_weight_decay([model.weights[i] for i in state["without_decay"]])
        model.programs.compile(optimizer, arguments, engine, policy)
        for name, array in state["slots"].items():
            model.programs.slots.setdefault(name, Variable(array, name)).assign(array)
    return model
