"""Optimisers: one pass over a parameter, its gradient and its slots, whatever their size.

The coefficients that depend on the step and on the learning rate are computed in float64 at the start of
every task; each optimiser is then a function on vectors, in the order of `engine.reference.optimizers`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kernelearn.engine.cpu.language import functions as fn
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import emit_flat
from kernelearn.engine.cpu.language.values import Value
from kernelearn.engine.cpu.plan import Plan, Tasks, per_image
from kernelearn.engine.program import Operation

Attrs = Mapping[str, Any]
Coefficients = dict[str, Value]
# Numbers per task. The code does not depend on the size of the parameter: one kernel serves all of them.
BLOCK = 8192


@dataclass(frozen=True)
class Rule:
    """One optimiser.

    coefficients(k, attrs, rate) gives what depends on the step, by name, as vectors; `rate` is the learning
    rate of the parameter, a float64.
    step(attrs, c, param, grad, *slots) gives the new parameter and slots, all vectors.
    """

    coefficients: Callable[[Kernel, Attrs, Value], Coefficients]
    step: Callable[..., tuple[Value, ...]]


def towards(average: Value, value: Value, share: float) -> Value:
    """A fraction `share` of the way from `average` to `value`."""
    return fn.fma(value - average, share, average)


def mix(average: Value, value: Value, rho: float) -> Value:
    """rho * average + (1 - rho) * value."""
    k = average.kernel
    return fn.fma(k.constant(rho), average, (1 - rho) * value)


def everywhere(number: Value) -> Value:
    """A float64 as a vector of float32."""
    return number.narrowed().splat()


def _only_rate(k: Kernel, attrs: Attrs, rate: Value) -> Coefficients:
    return {"rate": everywhere(rate)}


def _bias_corrections(k: Kernel, attrs: Attrs) -> tuple[Value, Value]:
    """1 - beta_1^t and 1 - beta_2^t."""
    first, second = fn.powers((attrs["beta_1"], attrs["beta_2"]), count(k))
    return 1.0 - first, 1.0 - second


def count(k: Kernel) -> Index:
    """The number of this update."""
    return Index(k, k.load_one("step", 0, "i64"))


# --- the optimisers


def _sgd(a: Attrs, c: Coefficients, param: Value, grad: Value, *slots: Value) -> tuple[Value, ...]:
    descent = grad * c["rate"]
    momentum = a["momentum"]
    if not momentum:
        return (param - descent, *slots)
    velocity = slots[0] * momentum - descent
    move = velocity * momentum - descent if a["nesterov"] else velocity
    return param + move, velocity


def _adam_rate(k: Kernel, attrs: Attrs, rate: Value) -> Coefficients:
    first, second = _bias_corrections(k, attrs)
    return {"alpha": everywhere(rate * fn.sqrt(second) / first)}


def _adam(
    a: Attrs, c: Coefficients, param: Value, grad: Value, m: Value, v: Value, *v_hat: Value
) -> tuple[Value, ...]:
    m = towards(m, grad, 1 - a["beta_1"])
    v = towards(v, grad * grad, 1 - a["beta_2"])
    largest = (fn.maximum(v_hat[0], v),) if a["amsgrad"] else ()
    root = fn.sqrt(largest[0] if largest else v) + a["epsilon"]
    return (param - m * c["alpha"] / root, m, v, *largest)


def _rmsprop(
    a: Attrs, c: Coefficients, param: Value, grad: Value, velocity: Value, *slots: Value
) -> tuple[Value, ...]:
    rho = a["rho"]
    velocity = mix(velocity, grad * grad, rho)
    denominator, new_slots = velocity, []
    if a["centered"]:
        average = mix(slots[-1], grad, rho)
        # The variance cannot be negative; rounding can make it so and its root NaN.
        denominator = fn.larger(velocity - average * average, grad.kernel.zero)
        new_slots = [average]
    root = fn.sqrt(denominator + a["epsilon"])
    move = c["rate"] * grad / root
    if a["momentum"]:
        move = fn.fma(grad.kernel.constant(a["momentum"]), slots[0], move)
        new_slots.insert(0, move)
    return (param - move, velocity, *new_slots)


def _adagrad(a: Attrs, c: Coefficients, param: Value, grad: Value, accumulator: Value) -> tuple[Value, ...]:
    accumulator = fn.fma(grad, grad, accumulator)
    root = fn.sqrt(accumulator + a["epsilon"])
    return param - c["rate"] * grad / root, accumulator


def _adadelta(
    a: Attrs, c: Coefficients, param: Value, grad: Value, grad_square: Value, move_square: Value
) -> tuple[Value, ...]:
    grad_square = mix(grad_square, grad * grad, a["rho"])
    past = fn.sqrt(move_square + a["epsilon"])
    # The size of a step, downhill: its sign comes in where it is used.
    move = past * grad / fn.sqrt(grad_square + a["epsilon"])
    move_square = mix(move_square, move * move, a["rho"])
    return param - c["rate"] * move, grad_square, move_square


def _adamax_rate(k: Kernel, attrs: Attrs, rate: Value) -> Coefficients:
    first, _ = _bias_corrections(k, attrs)
    return {**_only_rate(k, attrs, rate), "correction": everywhere(first)}


def _adamax(a: Attrs, c: Coefficients, param: Value, grad: Value, m: Value, u: Value) -> tuple[Value, ...]:
    m = towards(m, grad, 1 - a["beta_1"])
    u = fn.maximum(a["beta_2"] * u, fn.absolute(grad))
    divisor = c["correction"] * (u + a["epsilon"])
    return param - c["rate"] * m / divisor, m, u


def _lion(a: Attrs, c: Coefficients, param: Value, grad: Value, m: Value) -> tuple[Value, ...]:
    mixed = m * a["beta_1"] + grad * (1 - a["beta_1"])
    move = c["rate"] * fn.sign(mixed)
    return param - move, mix(m, grad, a["beta_2"])


# Nadam's coefficients come from a call of their own: all tasks read the product of the past momenta, so that
# none of them may write it.
NADAM_COEFFICIENTS = ("along_m", "along_grad", "correction", "rate", "decay")


def _nadam_given(k: Kernel, attrs: Attrs, rate: Value) -> Coefficients:
    return {name: k.broadcast("coefficients", i) for i, name in enumerate(NADAM_COEFFICIENTS)}


def _nadam(a: Attrs, c: Coefficients, param: Value, grad: Value, m: Value, v: Value) -> tuple[Value, ...]:
    m = towards(m, grad, 1 - a["beta_1"])
    v = towards(v, grad * grad, 1 - a["beta_2"])
    m_hat = fn.fma(m, c["along_m"], grad * c["along_grad"])
    root = fn.sqrt(v / c["correction"])
    move = m_hat * c["rate"] / (root + a["epsilon"])
    return param - move, m, v


OPTIMISERS: dict[str, Rule] = {
    "sgd_update": Rule(_only_rate, _sgd),
    "adam_update": Rule(_adam_rate, _adam),
    "rmsprop_update": Rule(_only_rate, _rmsprop),
    "adagrad_update": Rule(_only_rate, _adagrad),
    "adadelta_update": Rule(_only_rate, _adadelta),
    "adamax_update": Rule(_adamax_rate, _adamax),
    "nadam_update": Rule(_nadam_given, _nadam),
    "lion_update": Rule(_only_rate, _lion),
}


def lower_update(plan: Plan, op: Operation) -> bool:
    """param, *slots <- one step; operands (param, grad, learning rate, step, *slots)."""
    rate, step, *slots = op.inputs[2:]
    if not _fits(plan, op, slots):
        return False
    _add_update(plan, op, slots, {"rate": rate, "step": step})
    return True


def lower_nadam(plan: Plan, op: Operation) -> bool:
    """Nadam: the coefficients first, then the parameter."""
    rate, step, m, v, product = op.inputs[2:]
    if not _fits(plan, op, (m, v, product)):
        return False
    coefficients = plan.scratch("nadam", (len(NADAM_COEFFICIENTS),))
    plan.call(
        op,
        NadamCoefficients(op.attrs),
        {"rate": rate, "step": step, "product": product},
        {"product": product, "coefficients": coefficients},
        Tasks(fixed=1),
    )
    _add_update(plan, op, [m, v], {"coefficients": coefficients})
    return True


def _fits(plan: Plan, op: Operation, slots: Sequence[str]) -> bool:
    param, grad, rate, step = op.inputs[:4]
    kinds = (plan.dtype(rate), plan.dtype(step)) == ("float64", "int64")
    return kinds and plan.is_float(param, grad, *slots) and tuple(op.outputs) == (param, *slots)


def _add_update(plan: Plan, op: Operation, slots: Sequence[str], numbers: dict[str, str]) -> None:
    param, grad = op.inputs[:2]
    size = per_image(plan.shape(param))
    arrays = {"param": param, **{f"slot{i}": name for i, name in enumerate(slots)}}
    plan.call(
        op,
        Update(op.operator, op.attrs, tuple(arrays)),
        {**arrays, "grad": grad, **numbers, "size": f"#{size}"},
        arrays,
        Tasks(fixed=max(-(-size // BLOCK), 1)),
        flops=(0.0, 10.0 * size),
        note="in one pass over the weights",
    )


@dataclass(frozen=True)
class Update:
    """For every vector of this task's block: load, step, store.

    Attributes:
        arrays: roles of the parameter and its slots.
    """

    operator: str
    attrs: Attrs
    arrays: tuple[str, ...]

    def emit(self, k: Kernel) -> None:
        optimiser, attrs = OPTIMISERS[self.operator], self.attrs
        rate = _rate(k, attrs) if "rate" in k.arguments else k.nothing
        c = optimiser.coefficients(k, attrs, rate)
        decay = c["decay"] if "decay" in c else _decay(attrs, rate)

        def one(at: Index, mask: Value | None) -> None:
            param, *slots = [k.load(name, at, mask) for name in self.arrays]
            if decay is not None and attrs["weight_decay"]:
                param = param * decay
            results = optimiser.step(attrs, c, param, k.load("grad", at, mask), *slots)
            for name, result in zip(self.arrays, results):
                k.store(result, name, at, mask)

        emit_flat(k, k.lo * BLOCK, k.minimum(k.hi * BLOCK, k.scalar("size")), one)


def _rate(k: Kernel, attrs: Attrs) -> Value:
    """The learning rate of this parameter."""
    rate = k.load_one("rate", 0, "double")
    return rate if attrs["multiplier"] == 1.0 else rate * attrs["multiplier"]


def _decay(attrs: Attrs, rate: Value) -> Value | None:
    """What decoupled weight decay multiplies the parameter by; None if there is none."""
    return everywhere(1.0 - attrs["weight_decay"] * rate) if attrs["weight_decay"] else None


@dataclass(frozen=True)
class NadamCoefficients:
    """The momentum schedule mu_t = beta_1 (1 - 0.96^t / 2) and what follows from it."""

    attrs: Attrs

    def emit(self, k: Kernel) -> None:
        rate, step = _rate(k, self.attrs), count(k)
        power, next_power, second = (
            fn.powers((0.96, self.attrs["beta_2"]), step)[0],
            fn.powers((0.96,), step + 1)[0],
            fn.powers((self.attrs["beta_2"],), step)[0],
        )
        now, following = (_nadam_momentum(self.attrs["beta_1"], p) for p in (power, next_power))
        product = k.load_one("product").widened() * now
        beyond = 1.0 - product * following
        values = (
            following / beyond,
            (1.0 - now) / (1.0 - product),
            1.0 - second,
            rate,
            1.0 - self.attrs["weight_decay"] * rate,
        )
        for place, value in enumerate(values):
            k.store_one(value.narrowed(), "coefficients", place)
        k.store_one(product.narrowed(), "product")


def _nadam_momentum(beta_1: float, power: Value) -> Value:
    return beta_1 * (1.0 - 0.5 * power)
