"""Optimisers: one pass over a parameter, its gradient and its slots, whatever their size.

The coefficients that depend on the step and on the learning rate are computed in float64 at the start of
every task; each optimiser is then a function on vectors, in the order of `engine.reference.optimizers`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kernelearn.engine.cpu.language import functions as fn
from kernelearn.engine.cpu.language import scalars
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import emit_flat
from kernelearn.engine.cpu.plan import Plan, Tasks, per_image
from kernelearn.engine.program import Operation

Attrs = Mapping[str, Any]
# Numbers per task. The code does not depend on the size of the parameter: one kernel serves all of them.
BLOCK = 8192


@dataclass(frozen=True)
class Rule:
    """One optimiser.

    coefficients(k, attrs, rate) gives what depends on the step, by name, as vectors; `rate` is the learning
    rate of the parameter, a float64.
    step(k, attrs, c, param, grad, *slots) gives the new parameter and slots, all vectors.
    """

    coefficients: Callable[[Kernel, Attrs, str], dict[str, str]]
    step: Callable[..., tuple[str, ...]]


def towards(k: Kernel, average: str, value: str, share: float) -> str:
    """A fraction `share` of the way from `average` to `value`."""
    return k.fma(k.sub(value, average), k.constant(share), average)


def mix(k: Kernel, average: str, value: str, rho: float) -> str:
    """rho * average + (1 - rho) * value."""
    return k.fma(k.constant(rho), average, k.mul(k.constant(1 - rho), value))


def _only_rate(k: Kernel, attrs: Attrs, rate: str) -> dict[str, str]:
    return {"rate": scalars.in_every_lane(k, rate)}


def _bias_corrections(k: Kernel, attrs: Attrs) -> tuple[str, str]:
    """1 - beta_1^t and 1 - beta_2^t."""
    first, second = scalars.powers(k, (attrs["beta_1"], attrs["beta_2"]), count(k))
    return scalars.one_minus(k, first), scalars.one_minus(k, second)


def count(k: Kernel) -> Index:
    """The number of this update."""
    return Index(k, k.load_one("step", 0, "i64"))


# --- the optimisers


def _sgd(k: Kernel, a: Attrs, c: dict, param: str, grad: str, *slots: str) -> tuple[str, ...]:
    descent = k.mul(grad, c["rate"])
    momentum = a["momentum"]
    if not momentum:
        return (k.sub(param, descent), *slots)
    velocity = k.sub(k.mul(slots[0], k.constant(momentum)), descent)
    move = velocity
    if a["nesterov"]:
        move = k.sub(k.mul(velocity, k.constant(momentum)), descent)
    return k.add(param, move), velocity


def _adam_rate(k: Kernel, attrs: Attrs, rate: str) -> dict[str, str]:
    first, second = _bias_corrections(k, attrs)
    alpha = scalars.divide(k, scalars.multiply(k, rate, scalars.sqrt(k, second)), first)
    return {"alpha": scalars.in_every_lane(k, alpha)}


def _adam(k: Kernel, a: Attrs, c: dict, param: str, grad: str, m: str, v: str, *v_hat: str):
    m = towards(k, m, grad, 1 - a["beta_1"])
    v = towards(k, v, k.mul(grad, grad), 1 - a["beta_2"])
    largest = (fn.maximum(k, v_hat[0], v),) if a["amsgrad"] else ()
    root = k.add(fn.sqrt(k, largest[0] if largest else v), k.constant(a["epsilon"]))
    return (k.sub(param, k.div(k.mul(m, c["alpha"]), root)), m, v, *largest)


def _rmsprop(k: Kernel, a: Attrs, c: dict, param: str, grad: str, velocity: str, *slots: str):
    rho = a["rho"]
    velocity = mix(k, velocity, k.mul(grad, grad), rho)
    denominator, new_slots = velocity, []
    if a["centered"]:
        average = mix(k, slots[-1], grad, rho)
        # The variance cannot be negative; rounding can make it so and its root NaN.
        denominator = k.larger(k.sub(velocity, k.mul(average, average)), k.zero)
        new_slots = [average]
    root = fn.sqrt(k, k.add(denominator, k.constant(a["epsilon"])))
    move = k.div(k.mul(c["rate"], grad), root)
    if a["momentum"]:
        move = k.fma(k.constant(a["momentum"]), slots[0], move)
        new_slots.insert(0, move)
    return (k.sub(param, move), velocity, *new_slots)


def _adagrad(k: Kernel, a: Attrs, c: dict, param: str, grad: str, accumulator: str):
    accumulator = k.fma(grad, grad, accumulator)
    root = fn.sqrt(k, k.add(accumulator, k.constant(a["epsilon"])))
    return k.sub(param, k.div(k.mul(c["rate"], grad), root)), accumulator


def _adadelta(k: Kernel, a: Attrs, c: dict, param: str, grad: str, grad_square: str, move_square: str):
    epsilon = k.constant(a["epsilon"])
    grad_square = mix(k, grad_square, k.mul(grad, grad), a["rho"])
    past = fn.sqrt(k, k.add(move_square, epsilon))
    # The size of a step, downhill: its sign comes in where it is used.
    move = k.div(k.mul(past, grad), fn.sqrt(k, k.add(grad_square, epsilon)))
    move_square = mix(k, move_square, k.mul(move, move), a["rho"])
    return k.sub(param, k.mul(c["rate"], move)), grad_square, move_square


def _adamax_rate(k: Kernel, attrs: Attrs, rate: str) -> dict[str, str]:
    first, _ = _bias_corrections(k, attrs)
    return {**_only_rate(k, attrs, rate), "correction": scalars.in_every_lane(k, first)}


def _adamax(k: Kernel, a: Attrs, c: dict, param: str, grad: str, m: str, u: str):
    m = towards(k, m, grad, 1 - a["beta_1"])
    u = fn.maximum(k, k.mul(k.constant(a["beta_2"]), u), fn.absolute(k, grad))
    divisor = k.mul(c["correction"], k.add(u, k.constant(a["epsilon"])))
    return k.sub(param, k.div(k.mul(c["rate"], m), divisor)), m, u


def _lion(k: Kernel, a: Attrs, c: dict, param: str, grad: str, m: str):
    mixed = k.add(k.mul(m, k.constant(a["beta_1"])), k.mul(grad, k.constant(1 - a["beta_1"])))
    move = k.mul(c["rate"], fn.sign(k, mixed))
    return k.sub(param, move), mix(k, m, grad, a["beta_2"])


# Nadam's coefficients come from a call of their own: all tasks read the product of the past momenta, so that
# none of them may write it.
NADAM_COEFFICIENTS = ("along_m", "along_grad", "correction", "rate", "decay")


def _nadam_given(k: Kernel, attrs: Attrs, rate: str) -> dict[str, str]:
    return {name: k.broadcast("coefficients", i) for i, name in enumerate(NADAM_COEFFICIENTS)}


def _nadam(k: Kernel, a: Attrs, c: dict, param: str, grad: str, m: str, v: str):
    m = towards(k, m, grad, 1 - a["beta_1"])
    v = towards(k, v, k.mul(grad, grad), 1 - a["beta_2"])
    m_hat = k.fma(m, c["along_m"], k.mul(grad, c["along_grad"]))
    root = fn.sqrt(k, k.div(v, c["correction"]))
    move = k.div(k.mul(m_hat, c["rate"]), k.add(root, k.constant(a["epsilon"])))
    return k.sub(param, move), m, v


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
        optimiser = OPTIMISERS[self.operator]
        rate = _rate(k, self.attrs) if "rate" in k.arguments else ""
        c = optimiser.coefficients(k, self.attrs, rate)
        decay = c.get("decay") or _decay(k, self.attrs, rate)

        def one(at: Index, mask: str | None) -> None:
            param, *slots = [k.load(name, at, mask) for name in self.arrays]
            if self.attrs["weight_decay"]:
                param = k.mul(param, decay)
            results = optimiser.step(k, self.attrs, c, param, k.load("grad", at, mask), *slots)
            for name, result in zip(self.arrays, results):
                k.store(result, name, at, mask)

        emit_flat(k, k.lo * BLOCK, k.minimum(k.hi * BLOCK, k.scalar("size")), one)


def _rate(k: Kernel, attrs: Attrs) -> str:
    """The learning rate of this parameter."""
    rate = scalars.read(k, "rate")
    multiplier = attrs["multiplier"]
    return rate if multiplier == 1.0 else scalars.multiply(k, rate, scalars.number(multiplier))


def _decay(k: Kernel, attrs: Attrs, rate: str) -> str:
    """What decoupled weight decay multiplies the parameter by."""
    if not attrs["weight_decay"]:
        return ""
    share = scalars.multiply(k, scalars.number(attrs["weight_decay"]), rate)
    return scalars.in_every_lane(k, scalars.one_minus(k, share))


@dataclass(frozen=True)
class NadamCoefficients:
    """The momentum schedule mu_t = beta_1 (1 - 0.96^t / 2) and what follows from it."""

    attrs: Attrs

    def emit(self, k: Kernel) -> None:
        rate, step = _rate(k, self.attrs), count(k)
        power, next_power, second = (
            scalars.powers(k, (0.96, self.attrs["beta_2"]), step)[0],
            scalars.powers(k, (0.96,), step + 1)[0],
            scalars.powers(k, (self.attrs["beta_2"],), step)[0],
        )
        now, following = (_nadam_momentum(k, self.attrs["beta_1"], p) for p in (power, next_power))
        product = scalars.multiply(k, scalars.widen(k, k.load_one("product")), now)
        beyond = scalars.one_minus(k, scalars.multiply(k, product, following))
        values = (
            scalars.divide(k, following, beyond),
            scalars.divide(k, scalars.one_minus(k, now), scalars.one_minus(k, product)),
            scalars.one_minus(k, second),
            rate,
            scalars.one_minus(k, scalars.multiply(k, scalars.number(self.attrs["weight_decay"]), rate)),
        )
        for place, value in enumerate(values):
            k.store_one(scalars.narrow(k, value), "coefficients", place)
        k.store_one(scalars.narrow(k, product), "product")


def _nadam_momentum(k: Kernel, beta_1: float, power: str) -> str:
    half = scalars.multiply(k, scalars.number(0.5), power)
    return scalars.multiply(k, scalars.number(beta_1), scalars.one_minus(k, half))
