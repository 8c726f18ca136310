"""nn.MultiheadAttention kept whole while a module is exported: one operation that becomes one layer."""

from __future__ import annotations

from functools import cache
from typing import Any

from kernelearn._optional import require

OPERATOR = "kernelearn.multi_head_attention.default"


@cache
def _operations() -> Any:
    """The operation that stands for the module, and the one for the weights that nobody asks for."""
    torch = require("torch", "reading modules of PyTorch")

    def whole(query: Any, key: Any, value: Any, path: Any) -> Any:
        return torch.empty_like(query)

    def weights(query: Any, key: Any, path: Any) -> Any:
        return torch.empty((*query.shape[:-1], key.shape[-2]), dtype=query.dtype)

    made = []
    for name, function in (("multi_head_attention", whole), ("attention_weights", weights)):
        names = [*function.__annotations__]
        function.__annotations__ = {n: str if n == "path" else torch.Tensor for n in names}
        operation = torch.library.custom_op(f"kernelearn::{name}", function, mutates_args=())
        operation.register_fake(function)
        made.append(operation)
    return tuple(made)


@cache
def _leaf_class() -> Any:
    nn = require("torch.nn", "reading modules of PyTorch")

    base: Any = nn.Module

    class Leaf(base):  # type: ignore[misc]
        """Stands for an attention module; with masks, the module itself computes."""

        def __init__(self, module: Any, path: str) -> None:
            super().__init__()
            self.whole, self.path = module, path

        def __getattr__(self, name: str) -> Any:
            try:
                return super().__getattr__(name)
            except AttributeError:
                return getattr(super().__getattr__("whole"), name)

        def forward(self, query: Any, key: Any, value: Any, *args: Any, **options: Any) -> Any:
            masks = (*args[:1], *args[2:3], options.get("key_padding_mask"), options.get("attn_mask"))
            if any(mask is not None for mask in masks) or query.ndim != 3:
                return self.whole(query, key, value, *args, **options)
            attend, weights = _operations()
            wants = args[1] if len(args) > 1 else options.get("need_weights", True)
            return attend(query, key, value, self.path), (weights(query, key, self.path) if wants else None)

    return Leaf


def with_leaves(module: Any) -> tuple[Any, dict[str, Any]]:
    """A module whose attention modules are leaves (it is changed), and those by their paths."""
    attention = require("torch.nn", "reading modules of PyTorch").MultiheadAttention
    found = {
        path: part for path, part in module.named_modules() if type(part) is attention and _is_plain(part)
    }
    for path, part in found.items():
        leaf = _leaf_class()(part, path).eval()
        if not path:
            module = leaf
            continue
        above, _, name = path.rpartition(".")
        setattr(module.get_submodule(above), name, leaf)
    return module, found


def _is_plain(module: Any) -> bool:
    return module.bias_k is None and not module.add_zero_attn


def weights_of(module: Any) -> dict[str, tuple[Any, Any, slice]]:
    """Weight, bias and rows of the weight, for query, key, value and output."""
    e, bias = module.embed_dim, module.in_proj_bias
    rows = {name: slice(i * e, (i + 1) * e) for i, name in enumerate(("query", "key", "value"))}
    if module.in_proj_weight is not None:
        found = {name: (module.in_proj_weight, bias, row) for name, row in rows.items()}
    else:
        apart = (module.q_proj_weight, module.k_proj_weight, module.v_proj_weight)
        found = {name: (w, bias, row) for (name, row), w in zip(rows.items(), apart)}
    return {**found, "output": (module.out_proj.weight, module.out_proj.bias, slice(None))}
