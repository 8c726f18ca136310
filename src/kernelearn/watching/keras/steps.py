"""One training step of Keras that is recorded, by backend: it stands in `model.train_function` for that step.

torch        the model's own train_step, as always; hooks on the outputs of products
tensorflow   train_step traced once more, with identities that give the gradients that pass through them
jax          the step itself as always; before it, its loss is differentiated once more for the same batch,
             weights and seeds, with zeros added to the outputs of products
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from kernelearn.watching.keras.names import Names, array_of
from kernelearn.watching.keras.products import Looking, Product, replaced
from kernelearn.watching.seen import Array


@dataclass
class Taken:
    """What was seen of a step.

    Attributes:
        products: in the order of the calls.
        gradients: path -> gradient as the optimiser got it, times the scale of the loss.
        loss: times the same.
        inputs, targets: of the batch, first of several.
    """

    products: list[Product] = field(default_factory=list)
    gradients: dict[str, Array] = field(default_factory=dict)
    loss: float = math.nan
    inputs: Array | None = None
    targets: Array | None = None

    def batch(self, data: Any) -> None:
        """Note inputs and targets of a batch."""
        from keras import tree

        x, y = (*_parts(data), None)[:2]
        firsts = (next((a for a in tree.flatten(part) if a is not None), None) for part in (x, y))
        self.inputs, self.targets = (None if a is None else _plain(a) for a in firsts)


def _parts(data: Any) -> Sequence[Any]:
    return data if isinstance(data, list | tuple) else (data,)


def _plain(value: Any) -> Array:
    from keras import ops

    return np.asarray(ops.convert_to_numpy(value))


class Account(Protocol):
    """Where the time goes that is spent only to look at a step."""

    def now(self) -> float:
        """Seconds."""

    def aside(self, since: float) -> None:
        """What began at `since` was done only to look."""


class RecordedStep:
    """Computes one step of `fit` in the place of `model.train_function`, and keeps what it saw.

    Args:
        account: of the time.
    Attributes:
        taken: of the last step; None before it.
        error: that kept it from seeing anything; the step was done without it.
    """

    def __init__(self, model: Any, names: Names, account: Account) -> None:
        self.model, self.names, self.account = model, names, account
        self.taken: Taken | None = None
        self.error: Exception | None = None
        self.original: Callable[..., Any] | None = None

    def stand_in(self) -> None:
        """Be the model's train_function, for the step that comes."""
        self.original, self.taken, self.error = self.model.train_function, None, None
        self.model.train_function = self

    def stand_back(self) -> None:
        """Give the model its own train_function again."""
        if self.model.train_function is self:
            self.model.train_function = self.original

    def __call__(self, *arguments: Any) -> Any:
        self.stand_back()  # first: an error of the training, or an interrupt, leaves nothing behind
        return self.step(*arguments)

    def step(self, *arguments: Any) -> Any:
        """What `model.train_function` would do."""
        raise NotImplementedError

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Keep what the optimiser of the model is given: into `_gradients` and `_loss`."""
        optimizer = self.model.optimizer
        apply, scale_loss = optimizer.apply, optimizer.scale_loss
        self._gradients: dict[str, Any] = {}
        self._loss: Any = None

        def applying(grads: Any, trainable_variables: Any = None) -> Any:
            weights = optimizer._trainable_variables if trainable_variables is None else trainable_variables
            grads, weights = list(grads), list(weights)
            for gradient, weight in zip(grads, weights):
                path = self.names.paths.get(id(weight))
                if path is not None and gradient is not None:
                    self._gradients[path] = self.kept(gradient)
            return apply(grads, weights)

        def scaling(loss: Any) -> Any:
            scaled = scale_loss(loss)
            self._loss = scaled
            return scaled

        with ExitStack() as stack:
            stack.enter_context(replaced(optimizer, "apply", applying))
            stack.enter_context(replaced(optimizer, "scale_loss", scaling))
            yield

    def kept(self, gradient: Any) -> Any:
        """A gradient that what follows cannot change."""
        return gradient

    def looking(self, tap: Callable[[Product, Any, Any], Any]) -> Looking:
        """Products with weights of the model that are trained go through a tap."""
        trained = {id(v) for v in self.model.trainable_variables}
        paths = {key: path for key, path in self.names.paths.items() if key in trained}
        return Looking(paths, self.names.shapes, tap)


class TorchStep(RecordedStep):
    """On PyTorch nothing is done differently: hooks see the gradients."""

    def step(self, data: Any) -> Any:
        taken = self.taken = Taken()
        taken.batch(data[0])
        with self.looking(self._tap), self.noting():
            logs = self.model.train_step(data[0])
        taken.gradients = {path: array_of(g) for path, g in self._gradients.items()}
        taken.loss = math.nan if self._loss is None else float(self._loss.detach())
        taken.products = [p for p in taken.products if p.delta is not None]
        return logs

    def kept(self, gradient: Any) -> Any:
        return gradient.detach().clone()

    def _tap(self, product: Product, inputs: Any, output: Any) -> Any:
        taken = self.taken
        if taken is not None and getattr(output, "requires_grad", False):
            product.x = array_of(inputs)
            taken.products.append(product)

            def came_back(gradient: Any) -> None:
                found = array_of(gradient)
                product.delta = found if product.delta is None else product.delta + found

            output.register_hook(came_back)
        return output


class TensorFlowStep(RecordedStep):
    """On TensorFlow the step is traced a second time, with outputs for what is to be seen."""

    def __init__(self, model: Any, names: Names, account: Account) -> None:
        super().__init__(model, names, account)
        import tensorflow as tf

        self._tf = tf
        self._products: list[Product] = []
        never = tf.autograph.experimental.do_not_convert
        self._function = tf.function(
            never(self._traced), reduce_retracing=True, jit_compile=bool(model.jit_compile)
        )

    def step(self, iterator: Any) -> Any:
        tf, function = self._tf, self._function
        data = self.model._autoconvert_optionals(lambda given: given)(next(iterator))
        began, known = self.account.now(), function.experimental_get_tracing_count()
        try:
            function.get_concrete_function(data)
        except Exception as error:
            self.error, self.taken = error, None
            self.account.aside(began)
            assert self.original is not None
            return self.original(iter(tf.data.Dataset.from_tensors(data)))
        logs, seen = function(data)
        if function.experimental_get_tracing_count() > known:  # with the compilation, in the first call
            self.account.aside(began)
        self.taken = self._arrays(data, seen)
        return logs

    def _traced(self, data: Any) -> Any:
        tf, graph = self._tf, self._tf.compat.v1.get_default_graph()
        found: list[tuple[Product, Any, list[Any]]] = []

        def tap(product: Product, inputs: Any, output: Any) -> Any:
            came_back: list[Any] = []

            @tf.custom_gradient
            def same(value: Any) -> Any:
                def gradient(delta: Any) -> Any:
                    came_back.append(delta)
                    return delta

                return tf.identity(value), gradient

            found.append((product, tf.convert_to_tensor(inputs), came_back))
            return same(output)

        with self.looking(tap), self.noting():
            logs = self.model.train_step(data)
        # What is computed inside of a loop or of a function of its own cannot be given back from here.
        here = [
            (product, x, tf.add_n(deltas))
            for product, x, deltas in found
            if deltas and all(t.graph is graph for t in (x, *deltas))
        ]
        self._products = [product for product, _, _ in here]
        gradients = {path: tf.convert_to_tensor(g) for path, g in self._gradients.items()}
        loss = tf.constant(math.nan) if self._loss is None else self._loss
        return logs, {"factors": [(x, delta) for _, x, delta in here], "gradients": gradients, "loss": loss}

    def _arrays(self, data: Any, seen: Any) -> Taken:
        taken = Taken(loss=float(seen["loss"]))
        taken.batch(data)
        taken.gradients = {path: array_of(g) for path, g in seen["gradients"].items()}
        taken.products = [
            Product(p.path, p.kind, p.shape, p.options, array_of(x), array_of(delta))
            for p, (x, delta) in zip(self._products, seen["factors"])
        ]
        return taken


# How what is computed a few times is compiled on processors: in a seventh of the time, four times as slow.
# From so many steps on it is compiled as what comes often is, but for what takes the most to compile.
_SOON = {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": 0}
_FAST = {"xla_cpu_use_fusion_emitters": False}
_FEW = 6


class JaxStep(RecordedStep):
    """On JAX the step is as always; what it did is computed a second time to be looked at."""

    def __init__(self, model: Any, names: Names, account: Account) -> None:
        super().__init__(model, names, account)
        import jax

        self._jax = jax
        self._products: list[Product] = []
        self._done = 0
        self._functions = [self._compiled(options) for options in (_SOON, _FAST)]

    def _compiled(self, options: dict[str, Any]) -> Callable[..., Any]:
        """What is computed a second time, compiled when it is first called."""
        jax = self._jax
        if jax.default_backend() != "cpu":
            return jax.jit(self._differentiated)
        chosen = jax.jit(self._differentiated, compiler_options=options)

        def function(*arguments: Any) -> Any:
            nonlocal chosen
            try:
                return chosen(*arguments)
            except jax.errors.JaxRuntimeError as error:
                if "compile option" not in str(error):
                    raise
                chosen = jax.jit(self._differentiated)  # this version's compiler does not know these options
                return chosen(*arguments)

        return function

    def step(self, state: Any, iterator: Any) -> Any:
        data, began = next(iterator), self.account.now()
        try:
            self.taken, self.error = self._again(state, data), None
        except Exception as error:
            self.taken, self.error = None, error
        self.account.aside(began)
        assert self.original is not None
        return self.original(state, iter([data]))

    def _again(self, state: Any, data: Any) -> Taken:
        from keras.src.trainers.data_adapters.data_adapter_utils import unpack_x_y_sample_weight

        jnp, batch = self._jax.numpy, unpack_x_y_sample_weight(data)
        shapes = self._jax.eval_shape(self._outputs, state, batch)
        zeros = [jnp.zeros(one.shape, one.dtype) for one in shapes]
        function = self._functions[self._done >= _FEW]
        (loss, inputs), (gradients, deltas) = function(zeros, state, batch)
        self._done += 1
        taken = Taken(loss=float(loss))
        taken.batch(data)
        weights = self.model.trainable_variables
        paths = (self.names.paths.get(id(weight)) for weight in weights)
        taken.gradients = {path: array_of(g) for path, g in zip(paths, gradients) if path is not None}
        taken.products = [
            Product(p.path, p.kind, p.shape, p.options, array_of(x), array_of(delta))
            for p, x, delta in zip(self._products, inputs, deltas)
        ]
        return taken

    def _outputs(self, state: Any, batch: Any) -> list[Any]:
        """The outputs of all products, for their shapes."""
        found: list[Any] = []

        def tap(product: Product, inputs: Any, output: Any) -> Any:
            found.append(output)
            return output

        with self.looking(tap):
            self._loss_of(state[0], state, batch)
        return found

    def _differentiated(self, zeros: list[Any], state: Any, batch: Any) -> Any:
        def loss(weights: Any, added: list[Any]) -> Any:
            inputs: list[Any] = []
            self._products = []

            def tap(product: Product, given: Any, output: Any) -> Any:
                self._products.append(product)
                inputs.append(self._jax.numpy.asarray(given))
                return output + added[len(inputs) - 1]

            with self.looking(tap):
                value = self._loss_of(weights, state, batch)
            return value, inputs

        return self._jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(state[0], zeros)

    def _loss_of(self, weights: Any, state: Any, batch: Any) -> Any:
        x, y, sample_weight = batch
        loss, _ = self.model.compute_loss_and_updates(
            weights, state[1], state[3], x, y, sample_weight, training=True, optimizer_variables=state[2]
        )
        return loss


STEPS: dict[str, Callable[[Any, Names, Account], RecordedStep]] = {
    "torch": TorchStep,
    "tensorflow": TensorFlowStep,
    "jax": JaxStep,
}
