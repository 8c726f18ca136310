"""An exported program becomes a model: operation after operation, each by its reader."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from kernelearn import layers
from kernelearn._optional import require
from kernelearn.conversion.torch.attention_leaves import OPERATOR, weights_of
from kernelearn.conversion.torch.exported import Exported, is_in_place, operator_stem
from kernelearn.conversion.torch.placed import IMAGES, Placed, channels_last
from kernelearn.conversion.torch.reading import (  # noqa: F401 - each enters its readers
    convolution,
    normalization,
    pointwise,
    pooling,
    products,
    resizing,
    shaping,
)
from kernelearn.conversion.torch.reading.network import Network
from kernelearn.conversion.torch.reading.table import READERS, Call, Missing
from kernelearn.errors import ArgumentError, KernelearnError
from kernelearn.formats.foreign import reason
from kernelearn.models import Model

# Module classes of torch.nn that hold others: what runs in them is named after itself, too.
_CONTAINERS = re.compile("Sequential|ModuleList|ModuleDict|Transformer")
_DROPOUTS = {
    "Dropout": "dropout",
    "Dropout1d": "feature_dropout",
    "Dropout2d": "feature_dropout",
    "Dropout3d": "feature_dropout",
    "AlphaDropout": "alpha_dropout",
}
_WEIGHTED = re.compile("Conv|Linear|Bilinear|Embedding|BatchNorm|LayerNorm|GroupNorm|PReLU")
# Operations along the steps of (n, c, steps): what meets one first has its channels on axis 1.
_ALONG_STEPS = re.compile(
    r"conv1d|conv_transpose1d|pool1d|batch_norm|instance_norm|linear1d|nearest1d|nearest_exact1d|(flect|plicat)ion_pad1d"
)
# What passes axes on as they are.
_PASSING = re.compile(
    r"relu|dropout|gelu|silu|elu|sigmoid|tanh|add|sub|mul|div|neg|to$|clone|contiguous|detach|pad$|constant_pad"
)
_CHECKS = re.compile(r"_assert|sym_constrain|_check|_guards")


class Walk:
    """One walk over an exported program.

    Args:
        source: the program.
        data_format: of the model's images, "channels_last" or "channels_first".
    """

    def __init__(self, source: Exported, data_format: str) -> None:
        self.source, self.data_format = replace(source, program=_decomposed(source.program)), data_format
        self.tensors = self._tensors()
        floats = [t for t in self.tensors.values() if t.is_floating_point()]
        double = any(str(t.dtype) == "torch.float64" for t in (*floats, *source.examples))
        self.net = Network("float64" if double else "float32")
        for kind in sorted({str(t.dtype) for t in floats} - {"torch.float32", "torch.float64"}):
            self.net.note(f"Weights of {kind} are computed with in {self.net.dtype} here.")
        self.net.names = {id(t): name for name, t in reversed(list(self._named().items()))}
        self.net.kept = frozenset(self.source.program.state_dict)
        self.values: dict[Any, Any] = {}
        self.inputs: list[Placed] = []
        self.output_orders: list[tuple[int, ...]] = []

    def _named(self) -> dict[str, Any]:
        """Parameters and buffers by their names in the state dict."""
        program, found = self.source.program, {}
        found.update({**program.constants, **program.state_dict})
        for path, module in self.source.attention.items():
            prefix = f"{path}." if path else ""
            found.update({f"{prefix}{name}": tensor for name, tensor in module.named_parameters()})
        return {name: tensor for name, tensor in found.items() if hasattr(tensor, "detach")}

    def _tensors(self) -> dict[str, Any]:
        """Name of a placeholder -> its tensor."""
        signature, named = self.source.program.graph_signature, self._named()
        placed = {
            **signature.inputs_to_parameters,
            **signature.inputs_to_buffers,
            **signature.inputs_to_lifted_tensor_constants,
        }
        return {node: named[name] for node, name in placed.items()}

    def model(self, name: str | None) -> Model:
        """The model of the whole program."""
        outputs: list[Any] = []
        for node in self.source.program.graph.nodes:
            if node.op == "output":
                outputs = list(node.args[0])
            elif node.op == "placeholder":
                self.values[node] = self._placeholder(node)
            elif node.op == "call_function":
                self._run(node)
            elif node.op == "get_attr":
                raise ArgumentError(
                    f"The module branches into subgraphs ({node.target}), which a model cannot."
                )
        made = [self._output(node) for node in outputs]
        inputs = [x.tensor for x in self.inputs]
        return Model(
            inputs[0] if len(inputs) == 1 else inputs,
            made[0] if len(made) == 1 else self._named_outputs(made),
            name=name,
        )

    def _named_outputs(self, made: list[Any]) -> Any:
        spec = self.source.program.call_spec.out_spec
        if spec is not None and spec.type is dict and len(spec.context) == len(made):
            return dict(zip(spec.context, made))
        return made

    # --- what goes in and out

    def _placeholder(self, node: Any) -> Any:
        if node.name in self.tensors:
            return self.tensors[node.name]
        value = node.meta["val"]
        if not hasattr(value, "shape"):
            if value is None or isinstance(value, int | float | bool | str):
                return value
            raise ArgumentError(f"Input {node.name!r} is {type(value).__name__}; a model takes tensors.")
        shape = sizes_of(value)
        if shape[0] != IMAGES:
            raise ArgumentError(
                f"Input {node.name!r} was exported for {shape[0]} images only. Export it with "
                "dynamic_shapes=({0: torch.export.Dim.DYNAMIC},), or convert the module with from_torch."
            )
        order = self._order(node, len(shape))
        dtype = self.net.dtype if value.dtype.is_floating_point else str(value.dtype).removeprefix("torch.")
        tensor = layers.Input([shape[a] for a in order[1:]], dtype=dtype, name=self.net.unique(node.name))
        self.inputs.append(Placed(tensor, shape, order))
        self.net.start = self.inputs[0].tensor
        return self.inputs[-1]

    def _order(self, node: Any, rank: int) -> tuple[int, ...]:
        moves = rank > 3 or (rank == 3 and _has_steps(node))
        return channels_last(rank) if moves and self.data_format == "channels_last" else tuple(range(rank))

    def _output(self, node: Any) -> Any:
        value = self.values.get(node)
        if not isinstance(value, Placed):
            raise ArgumentError(
                f"Output {getattr(node, 'name', node)!r} of the module does not follow from its inputs "
                "as a tensor "
                "of every image; return tensors that do."
            )
        call = Call("output", node.name, "", f"{node.name}.output", {})
        value = self.net.in_order(call, value)
        if value.rank > 3 and self.data_format == "channels_last" and value.images_axis == 0:
            value = self.net.ordered(call, value, channels_last(value.rank))
        elif value.rank != 3 or self.data_format == "channels_first":
            value = self.net.plain(call, value)
        self.output_orders.append(value.order)
        if any(value.tensor is x.tensor for x in self.inputs):
            return self.net.layer(call, layers.Identity, value.tensor)
        return value.tensor

    # --- operations

    def _run(self, node: Any) -> None:
        stem = operator_stem(node)
        if _CHECKS.match(stem) or (not node.users and not is_in_place(node)):
            return
        arguments = self._arguments(node)
        given = list(_leaves(list(arguments.values())))
        missing = next((value for value in given if isinstance(value, Missing)), None)
        call = self._call(node, arguments)
        if missing is not None and node.target is not operator.getitem:
            call.refuse(f"uses {missing.what}, which are not computed here", missing.remedy)
        if not any(isinstance(value, Placed | Missing) for value in given):
            self.values[node] = self._constant(node, call, given)
        elif node.target is operator.getitem:
            self.values[node] = node_value(self.values[node.args[0]], node.args[1])
        elif stem in ("sym_size", "size"):
            self.values[node] = call["self"].shape[call["dim"]]
        else:
            self.values[node] = self._read(call)
        if is_in_place(node):
            self._rebind(node)

    def _rebind(self, node: Any) -> None:
        """What was written into has the new value under all its names."""
        before, after = self.values[node.args[0]], self.values[node]
        for other, value in self.values.items():
            if value is before:
                self.values[other] = after

    def _read(self, call: Call) -> Any:
        try:
            return self._reader(call)(self.net, call)
        except KernelearnError:
            raise
        except Exception as cause:  # an argument of another version of PyTorch, or of a kind that nobody met
            shown = {name: type(value).__name__ for name, value in call.arguments.items()}
            call.refuse(
                f"cannot be read ({reason(cause)}) with the arguments {shown}", "Please report the module."
            )

    def _reader(self, call: Call) -> Callable[[Network, Call], Any]:
        name = call.operator.removeprefix("aten.")
        if call.operator == OPERATOR:
            name = "multi_head_attention"
        if name not in READERS:
            call.refuse(
                "has no counterpart here",
                "Write the module with other operations, or convert the parts before and behind it.",
            )
        return READERS[name]

    def _arguments(self, node: Any) -> dict[str, Any]:
        """All arguments by name, with the operator's defaults."""
        args = [self._value(a) for a in node.args]
        keywords = {key: self._value(a) for key, a in node.kwargs.items()}
        schema = getattr(node.target, "_schema", None)
        if schema is None:
            return {**{f"argument{i}": a for i, a in enumerate(args)}, **keywords}
        found = {}
        for i, argument in enumerate(schema.arguments):
            default = argument.default_value if argument.has_default_value() else None
            found[argument.name] = args[i] if i < len(args) else keywords.get(argument.name, default)
        return found

    def _value(self, argument: Any) -> Any:
        if hasattr(argument, "users"):
            return self.values[argument]
        if isinstance(argument, list | tuple):
            return [self._value(part) for part in argument]
        return argument

    def _call(self, node: Any, arguments: dict[str, Any]) -> Call:
        path, kind = _module_of(node)
        module = self.source.modules.get(path)
        is_leaf = bool(kind) and not _CONTAINERS.search(kind)
        if is_leaf and _WEIGHTED.match(kind) and not any(hasattr(v, "detach") for v in arguments.values()):
            is_leaf = False  # what comes before or behind the operation that has the module's weights
        name = (path or kind.lower()) if is_leaf else f"{path}.{node.name}".strip(".")
        if getattr(module, "momentum", 0.0) is None and kind.startswith(("BatchNorm", "SyncBatchNorm")):
            arguments = {**arguments, "momentum_is_none": True}
        if str(node.target) == OPERATOR:
            path = arguments["path"]
            part = self.source.attention[path]
            name = path or "attention"
            more = {"num_heads": part.num_heads, "dropout": part.dropout, "weights": weights_of(part)}
            arguments = {**arguments, **more}
        target = str(node.target)
        if kind in _DROPOUTS and target == "aten.clone.default" and module is not None:
            target = f"aten.{_DROPOUTS[kind]}.default"  # what is left of it where operators were decomposed
            arguments = {"input": arguments["self"], "p": module.p, "train": False}
        return Call(target, node.name, path, name, arguments, kind, _shapes(node.meta.get("val")))

    # --- what does not follow from the input

    def _constant(self, node: Any, call: Call, given: list[Any]) -> Any:
        """Computed by PyTorch now; repeated for every image where its shape asks for that."""
        if not getattr(node.target, "_schema", None):
            return node.target(
                *self._value(list(node.args)), **{k: self._value(v) for k, v in node.kwargs.items()}
            )
        args, keywords = (
            _for_one(self._value(list(node.args))),
            _for_one(dict(self._value_items(node.kwargs))),
        )
        args, keywords = self._filled(node, args, keywords)
        made = node.target(*args, **keywords)
        origins = tuple(
            name
            for value in given
            if hasattr(value, "detach") and self.net.is_learned(value)
            for name in self.net.origins.get(id(value), (self.net.names.get(id(value), "a parameter"),))
        )
        shapes = _shapes(node.meta.get("val"))
        if origins and hasattr(made, "detach"):
            self.net.origins[id(made)] = origins
            self._note_computed(call, origins)
        self.values[("held", node)] = made  # keeps its id its own
        if operator_stem_of(call.operator) in _SAME_ORDER and hasattr(given[0], "detach"):
            self.net.roots[id(made)] = self.net.roots.get(id(given[0]), given[0])
        if len(shapes) == 1 and shapes[0][:1] == (IMAGES,) and hasattr(made, "detach"):
            source = given[0] if hasattr(given[0], "detach") and self._is_only_repeated(call) else made
            return shaping.for_every_image(self.net, call, source, shapes[0])
        return made

    def _is_only_repeated(self, call: Call) -> bool:
        return operator_stem_of(call.operator) in ("expand", "expand_as", "repeat", "broadcast_to")

    def _note_computed(self, call: Call, origins: tuple[str, ...]) -> None:
        if operator_stem_of(call.operator) not in _MOVING:
            self.net.note(
                f"{', '.join(origins)}: {call.operator} is computed once, and what it gives is trained here."
            )

    def _value_items(self, keywords: Any) -> Any:
        return {key: self._value(value) for key, value in keywords.items()}.items()

    def _filled(
        self, node: Any, args: list[Any], keywords: dict[str, Any]
    ) -> tuple[list[Any], dict[str, Any]]:
        """On the processor, whatever device the program names."""
        if "device" in keywords:
            keywords = {**keywords, "device": "cpu"}
        return args, keywords


_SAME_ORDER = frozenset(["view", "reshape", "unsqueeze", "squeeze", "flatten", "unflatten"])
_MOVING = frozenset(
    [
        "view",
        "reshape",
        "transpose",
        "permute",
        "select",
        "slice",
        "expand",
        "repeat",
        "squeeze",
        "unsqueeze",
        "flatten",
        "t",
        "detach",
        "alias",
        "contiguous",
        "clone",
        "expand_as",
        "broadcast_to",
        "unflatten",
    ]
)


def _decomposed(program: Any) -> Any:
    """The program with operators that have no reader taken apart, where PyTorch knows how."""
    export = require("torch.export", "reading modules of PyTorch")
    targets = {node.target for node in program.graph.nodes if node.op == "call_function"}
    unknown = {t for t in targets if hasattr(t, "_schema") and str(t).removeprefix("aten.") not in READERS}
    if not any(str(t).startswith("aten.") and not _CHECKS.match(str(t).split(".")[1]) for t in unknown):
        return program
    table = export.default_decompositions()
    known = {t: table[t] for t in table if t in unknown}
    try:
        return program.run_decompositions(known) if known else program
    except Exception:  # NOTE: the walk then refuses the operator by its name, which says more.
        return program


def operator_stem_of(text: str) -> str:
    """ "expand" of "aten.expand.default"."""
    return text.split(".")[1] if text.count(".") >= 2 else text


def node_value(value: Any, place: Any) -> Any:
    """One of several results."""
    return value[place] if isinstance(value, tuple | list) else value


def _for_one(value: Any) -> Any:
    """Arguments with one image where they say "as many as there are"."""
    if isinstance(value, int) and not isinstance(value, bool) and value == IMAGES:
        return 1
    if isinstance(value, list | tuple):
        return type(value)(_for_one(part) for part in value)
    return {key: _for_one(part) for key, part in value.items()} if isinstance(value, dict) else value


def _leaves(value: Any) -> Any:
    if isinstance(value, list | tuple):
        for part in value:
            yield from _leaves(part)
    elif isinstance(value, dict):
        yield from _leaves(list(value.values()))
    else:
        yield value


def _module_of(node: Any) -> tuple[str, str]:
    """Path of the module that an operation belongs to, and its class if it is one of torch.nn's."""
    stack = [
        entry
        for entry in (node.meta.get("nn_module_stack") or {}).values()
        if "_empty_nn_module_stack" not in entry[0]
    ]
    if not stack:
        return "", ""
    path, kind = stack[-1]
    text = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"
    path = re.sub(r"@\d+", "", str(path)).removeprefix("L['self'].")
    return path, text.rpartition(".")[2] if text.startswith("torch.nn.modules.") else ""


def sizes_of(value: Any) -> tuple[int, ...]:
    """Sizes of a fake tensor, `IMAGES` for the number of images."""
    return tuple(_size(size) for size in value.shape)


def _size(size: Any) -> int:
    if isinstance(size, int):
        return size
    expression = size.node.expr
    return int(expression.subs(dict.fromkeys(expression.free_symbols, IMAGES)))


def _shapes(value: Any) -> tuple[tuple[int, ...], ...]:
    if value is None:
        return ()
    listed = value if isinstance(value, list | tuple) else [value]
    return tuple(sizes_of(part) for part in listed if hasattr(part, "shape"))


def _has_steps(node: Any) -> bool:
    """Whether (n, c, steps) is what an input of three axes is: it meets an operation along steps first."""
    queue, seen = list(node.users), set()
    while queue:
        user = queue.pop()
        if user in seen or user.op != "call_function":
            continue
        seen.add(user)
        stem = operator_stem(user)
        if _ALONG_STEPS.search(stem):
            return True
        if _PASSING.match(stem):
            queue += list(user.users)
    return False
