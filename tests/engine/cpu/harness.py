"""One operator at a time on the CPU engine, compared with the float64 reference: what all kernel tests use.

    check(Problem("conv", (x, kernel), attrs, terms=27, weights=(1,)), target="avx2")

`check` compares values within the rounding bound, for any cut of the work into tasks. `check_guarded` does
the same in a child process where an unreadable page stands before and behind every buffer, so that an access
out of bounds ends the child and the message names the kernel.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from kernelearn.engine.cpu.executable import CpuExecutable
from kernelearn.engine.cpu.gathering import only_native
from kernelearn.engine.cpu.machine.runtime import GROUP
from kernelearn.engine.cpu.machine.target import find_target
from kernelearn.engine.cpu.places import Constants, Place
from kernelearn.engine.cpu.plan import Fallback
from kernelearn.engine.operators import OPERATORS
from kernelearn.engine.program import ProgramBuilder
from kernelearn.engine.variable import Variable
from tests.engine.cpu.memory import CAUGHT, NANS, GuardedMemory, run_in_child
from tests.engine.helpers import Case, as_dtype, magnitudes
from tests.rounding import gamma

TARGETS = ("avx512", "avx2", "baseline")
# Targets whose tests are slow ones, but for some examples of every operator.
NARROWER = ("avx2", "baseline")
# What the fixture `emulated_tiles` compiles for.
EMULATED = "emulated"
# How the work may be cut: tasks at once (0: all), and whether the last are done first.
CUTS = ((0, False), (1, True), (3, False))
UNIT_ROUNDOFF = 2.0**-24
KERNEL = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)

# Operator -> inputs that are weights; "update" operators write them.
WEIGHTS = {
    "conv": (1,), "conv_grad_input": (1,), "conv_transpose": (1,), "dense": (1,), "dense_grad_input": (1,),
    "bias_add": (1,), "affine": (1, 2), "prelu": (1,), "prelu_grad_input": (2,), "standardize": (1, 2),
    "standardize_grad": (1,), "penalty": (0,), "penalty_grad": (1,), "moving_average": (0,),
    "constrain": (0,), "affine_coefficients": (0, 1, 2, 3), "accumulate": (0,), "average_weight": (0,),
    "overwrite_weight": (0,), "add_share": (0,),
}  # fmt: skip
# Operators whose first axis is no batch at all, or not of all inputs with an equal number of rows.
WITHOUT_IMAGES = {
    "penalty", "penalty_grad", "moving_average", "constrain", "clip_by_value", "clip_by_norm", "global_norm",
    "clip_by_global_norm", "fill", "accumulate", "add_share", "average_weight", "overwrite_weight",
}  # fmt: skip

# Operators with an attribute `shape` that begins with the number of images.
OPEN_SHAPES = ("reshape", "strided_place", "broadcast_to", "scatter_add")


@dataclass(frozen=True, eq=False)
class Problem:
    """One operation on arrays.

    Attributes:
        arrays: inputs; float ones are used as `dtype`.
        terms: products in the longest sum: the bound is gamma_terms * operator(|arrays|), in float64. None:
            the error is held below `ulps` units in the last place of the largest expected value.
        images: inputs whose first axis counts images, for which the kernel must not know a size. None: found
            by `images_of`.
        weights: inputs that Variables hold. None: from the table WEIGHTS.
        bound: (float64 inputs, expected) -> largest error allowed per entry, instead of both rules.
        outputs: numbers of the outputs that are wanted and compared; None: all.
        label: for messages.
        dtype: of the floats that the kernel gets; bounds are given for float32, those of float64 follow.
    """

    operator: str
    arrays: tuple
    attrs: dict[str, Any] = field(default_factory=dict)
    terms: int | None = None
    ulps: float = 64.0
    images: tuple[int, ...] | None = None
    weights: tuple[int, ...] | None = None
    bound: Callable[[list[np.ndarray], list[np.ndarray]], Sequence[np.ndarray]] | None = None
    outputs: tuple[int, ...] | None = None
    label: str = ""
    dtype: str = "float32"

    def __str__(self) -> str:
        shapes = " ".join(str(np.shape(a)).replace(" ", "") for a in self.arrays)
        attrs = " ".join(f"{k}={v}" for k, v in self.attrs.items())
        return f"{self.operator} {self.label} {shapes} {attrs}".replace("  ", " ")


def problem_of(case: Case) -> Problem:
    """The problem of an example of `tests.engine.cases`."""
    return Problem(
        case.operator, tuple(case.inputs), case.attrs, case.terms, images=case.images, label=case.label
    )


def some_of(problems: list[Problem], target: str, most: int = 3) -> list[Problem]:
    """All problems, or a spread of so many for a narrower target: compiling is most of what a test does."""
    step = -(-len(problems) // most) if target in NARROWER else 1
    return problems[:: max(step, 1)]


def is_update(problem: Problem) -> bool:
    """Whether the operator belongs to the update phase: it overwrites its weights."""
    names = ("constrain", "moving_average", "accumulate", "add_share", "average_weight", "overwrite_weight")
    return problem.operator.endswith("_update") or problem.operator in names


def weights_of(problem: Problem) -> tuple[int, ...]:
    """Inputs that Variables hold: for an optimiser the parameter and its slots."""
    if problem.weights is not None:
        return problem.weights
    if problem.operator.endswith("_update"):
        return (0, *range(4, len(problem.arrays)))
    return WEIGHTS.get(problem.operator, ())


def images_of(problem: Problem) -> tuple[int, ...]:
    """Inputs whose first axis counts images: those with as many rows as the inputs of the most axes have."""
    if problem.images is not None:
        return problem.images
    if problem.operator in WITHOUT_IMAGES or problem.operator.endswith("_update"):
        return ()
    if problem.operator == "matmul":  # the rows of one matrix may be images as well
        most = max(map(np.ndim, problem.arrays))
        batches = tuple(i for i, a in enumerate(problem.arrays) if np.ndim(a) == most > 2)
        return batches or (() if problem.attrs.get("transpose_a") else (0,))
    weights = weights_of(problem)
    free = [i for i, a in enumerate(problem.arrays) if np.ndim(a) and i not in weights]
    shapes = {i: np.shape(problem.arrays[i]) for i in free}
    rank = max((len(shape) for shape in shapes.values()), default=0)
    rows = max((shape[0] for shape in shapes.values() if len(shape) == rank), default=0)
    return tuple(i for i in free if shapes[i][0] == rows)


@contextlib.contextmanager
def forced_target(name: str | None) -> Iterator[None]:
    """Compile for another target inside."""
    before = os.environ.get("KERNELEARN_CPU_TARGET")
    if name is not None:
        os.environ["KERNELEARN_CPU_TARGET"] = name
    try:
        yield
    finally:
        if before is not None:
            os.environ["KERNELEARN_CPU_TARGET"] = before
        else:
            os.environ.pop("KERNELEARN_CPU_TARGET", None)


_numbers = itertools.count()


class Bench:
    """A problem as a program of one operation, on the CPU engine.

    Attributes:
        narrow: the inputs as the kernel gets them: float32 and integers.
        inputs: name -> array, those of `narrow` that are given at each run.
        variables: name -> Variable, the others.
    """

    def __init__(self, problem: Problem, target: str | None = None) -> None:
        self.problem = problem
        self.narrow = narrowed(problem)
        self.inputs: dict[str, np.ndarray] = {}
        self.variables: dict[str, Variable] = {}
        graph = ProgramBuilder(dtype=problem.dtype)
        self.labels = self._build(graph)
        with forced_target(target):
            self.executable = CpuExecutable(graph.build(), self.variables)

    def _build(self, graph: ProgramBuilder) -> list[str]:
        """Add the operation; names of its results: a label of the program's outputs, or a weight."""
        problem, buffers = self.problem, []
        weights, images = weights_of(problem), images_of(problem)
        for i, array in enumerate(self.narrow):
            if i in weights:
                variable = self.variables[f"x{i}"] = Variable(array, f"x{i}")
                buffers.append(graph.variable(variable, "parameter"))
                continue
            self.inputs[f"x{i}"] = array
            shape = (None, *array.shape[1:]) if i in images else array.shape
            buffers.append(graph.input(f"x{i}", shape, array.dtype.name))
        attrs = open_attrs(problem, bool(images))
        if is_update(problem):
            changed = [buffers[i] for i in weights]
            graph.update(problem.operator, buffers, changed, **attrs)
            return [b.name for b in changed]
        results = graph.add(problem.operator, *buffers, **attrs)
        results = results if isinstance(results, tuple) else (results,)
        wanted = problem.outputs if problem.outputs is not None else range(len(results))
        graph.outputs = {f"y{i}": results[i].name for i in wanted}
        return list(graph.outputs)

    @property
    def is_native(self) -> bool:
        """Whether there is a kernel for all of it."""
        return not any(isinstance(call, Fallback) for call in self.executable.calls())

    def mutate(self, change: Callable[[str], str]) -> None:
        """Change the code of all kernels, to see whether the checks notice. No cache sees the change."""
        from kernelearn.engine.cpu.machine import codegen, compiler
        from kernelearn.engine.cpu.plan import Call, kernel_text

        target = self.executable.target
        changed = False
        calls = [call for call in self.executable.calls() if isinstance(call, Call)]
        finer = [call.alternative for call in calls if call.alternative is not None]
        for call in (*calls, *finer):
            name = f"mutant_{next(_numbers)}"
            text = kernel_text(call, name, target)
            changed = changed or change(text) != text
            blob = codegen.compile_object(change(text), target)
            self.executable._functions[id(call)] = compiler.link([blob], target).function(name)
        assert changed, f"{self.problem}: the mutant is no different"

    def leave_other_numbers(self) -> None:
        """Run with other inputs: memory that is used again must not hold the right numbers by chance."""
        self.executable.run({name: x + 1 if x.dtype.kind == "f" else x for name, x in self.inputs.items()})
        self.reset()

    def reset(self) -> None:
        """Give the weights back the values that the problem names."""
        for name, variable in self.variables.items():
            np.copyto(variable.memory, self.narrow[int(name[1:])])

    def run(self) -> list[np.ndarray]:
        """The wanted outputs, by the engine's own threads."""
        self.reset()
        return self._results(self.executable.run(self.inputs))

    def run_cut(self, chunk: int = 0, backwards: bool = False, tell: Callable | None = None) -> list:
        """The wanted outputs, the kernels called one by one, so many tasks at a time.

        Args:
            chunk: tasks at once; 0: all.
            backwards: do the last tasks first.
            tell: called with the key of each kernel before it runs.
        """
        self.reset()
        arrays = self.executable.inputs(self.inputs)
        binding = self.executable.binding(arrays)
        run_binding(binding, arrays, chunk, backwards, tell)
        return self._results({k: binding.array(n, arrays).copy() for k, n in self.outputs.items()})

    @property
    def outputs(self) -> dict[str, str]:
        return dict(self.executable.program.outputs)

    def _results(self, found: dict[str, np.ndarray]) -> list[np.ndarray]:
        return [found[n] if n in found else self.variables[n].numpy() for n in self.labels]


def narrowed(problem: Problem) -> list[np.ndarray]:
    """The inputs as the kernel gets them: learning rates and norms stay float64, other floats are `dtype`."""
    narrow = as_dtype(problem.arrays, problem.dtype)
    double = 2 if problem.operator.endswith("_update") else None
    double = 1 if problem.operator == "clip_by_global_norm" else double
    if double is not None:
        narrow[double] = np.asarray(problem.arrays[double], "float64")
    return narrow


def open_attrs(problem: Problem, has_images: bool) -> dict[str, Any]:
    """The attributes as a program holds them: a number of images in `shape` is None there."""
    attrs = dict(problem.attrs)
    # NOTE: what is added along the first axis goes into one array for all images.
    if has_images and problem.operator in OPEN_SHAPES and attrs.get("axis") != 0:
        attrs["shape"] = (None, *attrs["shape"][1:])
    return attrs


def run_binding(
    binding, arrays, chunk: int = 0, backwards: bool = False, tell: Callable | None = None
) -> None:
    """What `Binding.run` does, in plain Python and on this thread."""
    binding.use(arrays)
    for part in (*binding.prologue, *binding.parts):
        if isinstance(part, Fallback):
            binding.reference(part, arrays)
            continue
        for group, row in enumerate(part.groups):
            tasks, first, count = (int(row[GROUP[word]]) for word in ("tasks", "first", "count"))
            size = chunk or tasks or 1
            if row[GROUP["local"]]:
                size = min(size, int(row[GROUP["chunk"]]))
            ranges = [(lo, min(lo + size, tasks)) for lo in range(0, tasks, size)]
            for lo, hi in reversed(ranges) if backwards else ranges:
                for command, argument, address in part.own_addresses(group, lo):
                    part.tables[first + command][argument] = address
                for number in range(first, first + count):
                    if tell is not None:
                        tell(f"{part.calls[number].key} [{lo}, {hi})")
                    address, table = (int(v) for v in part.commands[number])
                    KERNEL(address)(table, lo, hi)


def expected(problem: Problem, narrow: Sequence[np.ndarray], dtype: str = "float64") -> list[np.ndarray]:
    """What the reference gives for the same numbers."""
    with np.errstate(all="ignore"):
        results = OPERATORS[problem.operator].run(*as_dtype(narrow, dtype), **problem.attrs)
    results = results if isinstance(results, tuple) else (results,)
    wanted = problem.outputs if problem.outputs is not None else range(len(results))
    return [np.asarray(results[i]) for i in wanted]


def bounds(problem: Problem, narrow: Sequence[np.ndarray], wide: list[np.ndarray]) -> list[np.ndarray]:
    """The largest error allowed per entry of each output."""
    if problem.dtype == "float64":
        # NOTE: twice the unit roundoff of float64, since what is expected is rounded as well.
        return [limit * 2.0**-28 for limit in bounds(replace(problem, dtype="float32"), narrow, wide)]
    if problem.bound is not None:
        return list(problem.bound(as_dtype(narrow, "float64"), wide))
    if problem.terms is None:
        unit = 2 * problem.ulps * UNIT_ROUNDOFF
        return [np.full(e.shape, unit * np.abs(e).max(initial=1e-30)) for e in wide]
    attrs = {k: abs(v) if isinstance(v, float) else v for k, v in problem.attrs.items()}
    positive = replace(problem, attrs=attrs)
    return [gamma(problem.terms) * m for m in expected(positive, magnitudes(narrow))]


def compare(
    problem: Problem, narrow: Sequence[np.ndarray], found: list[np.ndarray], where: str = ""
) -> float:
    """Raise AssertionError if a result is outside of its bound; else the largest share of a bound used."""
    wide = expected(problem, narrow)
    limits = bounds(problem, narrow, wide)
    largest = 0.0
    for number, (y, e, limit) in enumerate(zip(found, wide, limits)):
        at = f"{problem} {where}: output {number}"
        assert y.shape == e.shape, f"{at} has shape {y.shape}, expected {e.shape}"
        if e.dtype.kind != "f":
            np.testing.assert_array_equal(y, e, err_msg=at)
            continue
        error = np.abs(y.astype("float64") - e)
        bad = ~(error <= limit)
        if bad.any():
            place = tuple(int(i) for i in np.argwhere(bad)[0])
            raise AssertionError(
                f"{at}: {int(bad.sum())} of {bad.size} entries are off, the first at {place}: "
                f"{y[place]!r} instead of {e[place]!r}, allowed {limit[place]:.3g}"
            )
        used = error[limit > 0] / limit[limit > 0]
        largest = max(largest, float(used.max(initial=0.0)))
    return largest


def check(
    problem: Problem, target: str | None = None, native: bool = True, change: Callable | None = None
) -> float:
    """Values within the bound, bitwise the same for every cut of the work; the largest share of the bound.

    Args:
        target: name of the target to compile for; None: this machine's.
        native: fail if the reference engine had to do it.
        change: of the LLVM IR of the kernels: how the tests of these tests make a wrong kernel.
    """
    bench = Bench(problem, target)
    assert bench.is_native or not native, f"{problem}: no kernel on {target or 'this machine'}"
    if change is not None:
        bench.mutate(change)
        Bench(problem, target).leave_other_numbers()
    found = bench.run()
    share = compare(problem, bench.narrow, found, target or "")
    for chunk, backwards in CUTS:
        again = bench.run_cut(chunk, backwards)
        for a, b in zip(found, again):
            np.testing.assert_array_equal(
                a, b, err_msg=f"{problem} {target}: {chunk or 'all'} tasks at once differ"
            )
    return share


def check_special(
    problem: Problem, target: str | None = None, infinite: bool = True, spreads: bool = False
) -> None:
    """NaN and infinity come out where the reference in float32 has them.

    The arrays of the problem hold them; finite entries are not compared.

    Args:
        infinite: whether infinity has to be infinity; else it may be NaN.
        spreads: whether what is finite in the reference may be NaN.
    """
    bench = Bench(problem, target)
    for y, e in zip(bench.run(), expected(problem, bench.narrow, "float32")):
        if e.dtype.kind != "f":
            continue
        where = f"{problem} {target}"
        finite = np.isfinite(y) if not spreads else np.isfinite(y) | np.isfinite(e)
        np.testing.assert_array_equal(finite, np.isfinite(e), err_msg=f"{where}: finite")
        if infinite:
            np.testing.assert_array_equal(np.isnan(y), np.isnan(e), err_msg=f"{where}: NaN")
            kept = np.isinf(e)
            np.testing.assert_array_equal(y[kept], e[kept], err_msg=f"{where}: sign of infinity")


def check_guarded(
    problems: Sequence[Problem], target: str | None = None, change: Callable | None = None
) -> None:
    """All problems with guard pages around every buffer, flush with the end and with the start of a page.

    Raises: AssertionError with the problem and the kernel that left its buffers, or wrote into an input.
    """
    benches = [Bench(problem, target) for problem in problems]
    for bench in benches:
        assert bench.is_native, f"{bench.problem}: no kernel on {target}"
        if change is not None:
            bench.mutate(change)
        bench.executable.compile()  # here, so that the child only runs

    def work(tell: Callable[[str], None]) -> None:
        for bench in benches:
            for at_end in (True, False):
                where = (
                    f"{bench.problem} {target or ''}, buffers flush with the {'end' if at_end else 'start'}"
                )
                run_guarded(bench, at_end, lambda key, where=where: tell(f"{where}\n  kernel {key}"))

    run_in_child(work)


def run_guarded(bench: Bench, at_end: bool, tell: Callable[[str], None], filling: int = NANS) -> None:
    """One run with every buffer on pages of its own; compares values, and the filling between the buffers.

    The work is done all at once for buffers at the end of a page, else task by task.
    """
    bench.reset()
    executable = bench.executable
    arrays = executable.inputs(bench.inputs)
    images = executable.images(arrays)
    groups = [g for s in only_native(executable.stretches) for g in s.groups]
    local = {name: None for group in groups for name in sorted(group.local)}
    computed = (*executable.layout(images, 1).offsets, *local, *executable.constants.places)
    sizes = {name: exact_bytes(executable, name, images) for name in computed}
    sizes.update((f"in:{n}", a.nbytes) for n, a in arrays.items())
    sizes.update((f"var:{n}", v.memory.nbytes) for n, v in bench.variables.items())
    with GuardedMemory(sizes, at_end, filling) as memory:
        for name, array in arrays.items():
            arrays[name] = memory.place(f"in:{name}", array)
        weights = {n: memory.place(f"var:{n}", v.memory) for n, v in bench.variables.items()}
        places = {name: Place(memory.part(name)) for name in computed}
        places.update((name, Place(array)) for name, array in weights.items())
        binding = executable.bound(places, Constants({}, []), images, 1)
        written = {n for op in executable.program.operations for n in op.outputs}
        memory.protect([f"in:{n}" for n in arrays])
        memory.protect([f"var:{n}" for n in bench.variables if n not in written])
        run_binding(binding, arrays, 0 if at_end else 1, False, tell)
        tell("after the last kernel")
        outputs = {k: binding.array(n, arrays).copy() for k, n in bench.outputs.items()}
        found = bench._results({**outputs, **{n: array.copy() for n, array in weights.items()}})
        compare(bench.problem, bench.narrow, found, "guarded")
        memory.check_filling(str(bench.problem))


def exact_bytes(executable: CpuExecutable, name: str, images: int) -> int:
    """Bytes of a computed buffer without any reserve."""
    plan = executable.plan
    return plan.numbers(name, images) * np.dtype(plan.dtype(name)).itemsize


# A multiply-add; where the processor fuses none, the product of one, which its sum follows.
FUSED = re.compile(r"(?P<name>%\S+) = call (?P<type>.+) @llvm\.fma\S*\(.* (?P<summand>\S+)\)$")
PRODUCT = re.compile(r"(?P<name>%\S+) = fmul (?P<type>.+) %\S+, %\S+$")


def lose_a_product(number: int = 0) -> Callable[[str], str]:
    """A change that replaces a multiply-add, counted from the end if negative, by its summand."""

    def change(text: str) -> str:
        lines = text.split("\n")
        found = {i: match for i, match in enumerate(map(FUSED.search, lines)) if match}
        if not found:
            places = ((i, PRODUCT.search(line)) for i, line in enumerate(lines[:-1]))
            found = {i: m for i, m in places if m and f" {m['name']}, " in lines[i + 1]}
        if not found:
            return text
        place = list(found)[number]
        kept = {"summand": "zeroinitializer", **found[place].groupdict()}
        lines[place] = "  {name} = fadd {type} {summand}, zeroinitializer".format(**kept)
        return "\n".join(lines)

    return change


def has_target(name: str) -> bool:
    """Whether this machine can run code for a target."""
    try:
        find_target(name)
    except Exception:
        return False
    return True


__all__ = [
    "CAUGHT", "TARGETS", "Bench", "Problem", "check", "check_guarded", "check_special", "lose_a_product",
    "problem_of",
]  # fmt: skip
