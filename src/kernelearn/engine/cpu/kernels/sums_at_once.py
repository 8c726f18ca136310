"""A change of plan: what makes a gradient adds its share to the sum over shards, if nothing else reads it.

    before  conv_grad_kernel: writes dw;  add_share: reads dw, adds it to the sum
    after   conv_grad_kernel: adds it to the sum

The gradient need not be written to memory and read again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from kernelearn.engine.cpu.kernels.averages import AddShare
from kernelearn.engine.cpu.plan import Call, Fallback, Plan, is_number


def add_at_once(plan: Plan) -> None:
    """Let kernels that can (with a field `adds_share`) add up what they make."""
    adding = [step for step in plan.steps if isinstance(step, Call) and isinstance(step.code, AddShare)]
    if not adding:
        return
    uses = Counter(name for step in plan.steps for name in _roots(step, plan))
    uses.update(map(plan.root, plan.program.outputs.values()))
    makers = {
        plan.root(name): step
        for step in plan.steps
        if isinstance(step, Call) and hasattr(step.code, "adds_share")
        for name in step.writes.values()
    }
    changed: dict[int, list[Call]] = {}
    for call in adding:
        value = plan.root(call.reads["value"])
        maker = makers.get(value)
        if maker is not None and uses[value] == 2:  # who writes it, and who reads it
            changed[id(maker)], changed[id(call)] = [_joined(maker, call)], []
    plan.steps = [new for step in plan.steps for new in changed.get(id(step), [step])]


def _roots(step: Call | Fallback, plan: Plan) -> set[str]:
    if isinstance(step, Fallback):
        return {plan.root(name) for name in (*step.operation.inputs, *step.operation.outputs)}
    return {plan.root(name) for name in step.roles.values() if not is_number(name)}


def _joined(maker: Call, call: Call) -> Call:
    """The call that makes a gradient, adding it up; and its alternative for few images."""
    (role,) = maker.writes
    return replace(
        maker,
        code=replace(maker.code, adds_share=True),  # type: ignore[type-var]
        reads={**maker.reads, "share": call.reads["share"], "keeps": call.reads["keeps"]},
        writes={role: call.writes["total"]},
        note=f"{maker.note}, added up",
        alternative=None if maker.alternative is None else _joined(maker.alternative, call),
    )
