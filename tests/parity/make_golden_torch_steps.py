"""Write `golden_torch_steps.npz`: some steps of PyTorch's optimisers, for tests that run without PyTorch.

.venv-peers/bin/python tests/parity/make_golden_torch_steps.py
"""

import json
from pathlib import Path

import numpy as np
import torch

from kernelearn.watching.pytorch import rules

STEPS = 4
OPTIMIZERS = {
    "sgd": ("SGD", {"lr": 0.05}),
    "momentum": ("SGD", {"lr": 0.05, "momentum": 0.9}),
    "dampening": ("SGD", {"lr": 0.05, "momentum": 0.8, "dampening": 0.3, "weight_decay": 0.1}),
    "nesterov": ("SGD", {"lr": 0.05, "momentum": 0.8, "nesterov": True, "weight_decay": 0.1}),
    "maximize": ("SGD", {"lr": 0.05, "momentum": 0.8, "weight_decay": 0.1, "maximize": True}),
    "adam": ("Adam", {"lr": 0.01}),
    "adam l2": ("Adam", {"lr": 0.01, "weight_decay": 0.1, "maximize": True}),
    "amsgrad": ("Adam", {"lr": 0.01, "amsgrad": True, "betas": (0.8, 0.95), "eps": 1e-4}),
    "adamw": ("AdamW", {"lr": 0.01, "weight_decay": 0.1}),
    "rmsprop": ("RMSprop", {"lr": 0.01}),
    "rmsprop all": ("RMSprop", {"lr": 0.01, "momentum": 0.7, "centered": True, "weight_decay": 0.1}),
    "adagrad": ("Adagrad", {"lr": 0.05, "lr_decay": 0.1, "weight_decay": 0.1}),
    "adadelta": ("Adadelta", {"lr": 0.7}),
    "adadelta all": ("Adadelta", {"lr": 1.0, "rho": 0.8, "weight_decay": 0.1, "maximize": True}),
}


def main() -> None:
    """Write the file."""
    arrays, about = {}, {}
    random = np.random.default_rng(5)
    for name, (kind, arguments) in OPTIMIZERS.items():
        weight = torch.nn.Parameter(torch.tensor(random.normal(size=(3, 2)).astype("float32")))
        optimizer = getattr(torch.optim, kind)([weight], **arguments)
        attrs = rules.attrs_of(optimizer, optimizer.param_groups[0])
        slots = rules.slots_of(rules.kind_of(optimizer), attrs)
        about[name] = {
            "kind": rules.kind_of(optimizer),
            "attrs": attrs,
            "rate": arguments["lr"],
            "slots": list(slots),
        }
        for step in range(1, STEPS + 1):
            state = optimizer.state.get(weight, {})
            for slot, of_torch in slots.items():
                value = state.get(of_torch)
                found = torch.zeros_like(weight) if value is None else value
                arrays[f"{name}/{step}/slot/{slot}"] = found.detach().numpy().copy()
            gradient = random.normal(size=(3, 2)).astype("float32")
            arrays[f"{name}/{step}/before"] = weight.detach().numpy().copy()
            arrays[f"{name}/{step}/gradient"] = gradient
            weight.grad = torch.tensor(gradient)
            optimizer.step()
            arrays[f"{name}/{step}/after"] = weight.detach().numpy().copy()
    folder = Path(__file__).parent
    np.savez_compressed(folder / "golden_torch_steps.npz", about=np.array(json.dumps(about)), **arrays)


if __name__ == "__main__":
    main()
