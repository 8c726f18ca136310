"""Runs an experiment: seeds outside, conditions inside, so that what is finished can always be compared.

Several processes share the trainings out, each alone on its own: whole seeds first, and the conditions of the
last seeds. The numbers are those of one process.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from kernelearn import config
from kernelearn.errors import unknown_name
from kernelearn.explain.experiments.base import Experiment, ExperimentSettings
from kernelearn.explain.experiments.catalogue import EXPERIMENTS
from kernelearn.explain.experiments.problem import Draw, Problem
from kernelearn.explain.experiments.result import ExperimentResult, Row
from kernelearn.explain.experiments.training import Course, Stopped, Training
from kernelearn.parallel import Exchange, world
from kernelearn.training.interrupts import Interrupts


@dataclass(frozen=True)
class Progress:
    """Where a run is, after a condition.

    Attributes:
        seed, seeds: number of the seed from 1, and of all.
        condition: just finished; `accuracy`: its test accuracy, `seconds`: of its training.
        remaining: seconds to go, as far as can be told.
        ends_seed: whether it was the last condition of its seed.
    """

    seed: int
    seeds: int
    condition: str
    accuracy: float
    seconds: float
    remaining: float
    ends_seed: bool

    def __str__(self) -> str:
        done = f"seed {self.seed} of {self.seeds}, {self.condition}: {100 * self.accuracy:.1f} %"
        return f"{done} in {self.seconds:.1f} s; about {self.remaining:.0f} s to go"


def run_experiment(
    experiment: str | Experiment,
    data: Any = "digits",
    settings: ExperimentSettings | None = None,
    progress: Callable[[Progress], None] | None = None,
    after_seed: Callable[[ExperimentResult], None] | None = None,
) -> ExperimentResult:
    """Train every condition of an experiment for several seeds, and compare them.

    Within a seed all conditions see the same training and test images in the same order, make the same
    number of updates with the same optimiser, and start from the same weights where they have the same.

    Args:
        experiment: "frozen", "initialisation", "activation", "pooling", "augmentation", "sharing",
            "transfer", "depth", or an object.
        data: anything that `kernelearn.data.load` reads, or a `Problem`.
        settings: None for the defaults.
        progress: called after each condition. after_seed: called with the result so far after each seed. Of
            several processes, on the first one.
    Returns: the result, on every process. After Ctrl-C or SIGTERM it holds the seeds finished by then
        (`is_partial`).
    Raises: KeyboardInterrupt or SystemExit if it is stopped before the first seed is finished; DataError,
        ArgumentError, UnknownNameError.

    Sets the random seed of the process.

    >>> result = run_experiment("frozen", settings=ExperimentSettings(epochs=1, seeds=2, images=64))
    >>> result.row("freeze kernels").trained < result.row("train all").trained
    True
    """
    chosen = _experiment(experiment)
    problem, fixed = Problem.from_source(data), settings or ExperimentSettings()
    interrupts = Interrupts()
    interrupts.watch()
    try:
        with world.apart() as together, suppress(Stopped):
            is_first = together.rank == 0
            run = _Run(chosen, problem, fixed, interrupts, progress if is_first else None, together)
            for seeds in _rounds(fixed, together.size):
                for _ in run.add_seeds(seeds):
                    if after_seed is not None and is_first:
                        after_seed(run.result)
        if not run.result.seeds:
            interrupts.deliver()
    finally:
        interrupts.stop_watching()
    return run.result


def _rounds(settings: ExperimentSettings, processes: int) -> list[range]:
    """The seeds that are trained at the same time."""
    behind = settings.first_seed + settings.seeds
    return [
        range(seed, min(seed + processes, behind)) for seed in range(settings.first_seed, behind, processes)
    ]


def _experiment(given: str | Experiment) -> Experiment:
    if isinstance(given, Experiment):
        return given
    if given not in EXPERIMENTS:
        raise unknown_name("experiment", given, EXPERIMENTS)
    return EXPERIMENTS[given]()


@dataclass(frozen=True)
class _Trial:
    """A condition of one seed, trained."""

    course: Course
    parameters: int
    trained: int
    measures: dict[str, float]


@dataclass(frozen=True)
class _Done:
    """What a process has trained in a round.

    Attributes:
        trials: by condition.
        is_stopped: whether it was asked to stop before all of them were trained; signal: the one that asked.
    """

    trials: dict[str, _Trial]
    is_stopped: bool = False
    signal: int | None = None


class _Run:
    """A result that grows by seeds."""

    def __init__(
        self,
        experiment: Experiment,
        problem: Problem,
        settings: ExperimentSettings,
        interrupts: Interrupts,
        progress: Callable[[Progress], None] | None,
        together: Exchange,
    ) -> None:
        self.together = together
        self.experiment, self.problem, self.settings = experiment, problem, settings
        self.interrupts, self.progress = interrupts, progress
        self.budget = experiment.budget(settings)
        self.started, self.trials_done = time.monotonic(), 0
        conditions = experiment.conditions(problem)
        self.own_notes = experiment.notes(problem)
        self.result = ExperimentResult(
            experiment.name,
            experiment.question,
            experiment.baseline,
            {"name": problem.name, "input_shape": list(problem.input_shape)},
            {**asdict(settings), **experiment.options()},
            {"epochs": self.budget.epochs, "batch_size": self.budget.batch_size},
            settings.seeds,
            rows=[Row(name, about) for name, about in conditions.items()],
        )

    def add_seeds(self, seeds: range) -> Iterator[None]:
        """Train some seeds; gives way after each, which is entered whole, so that no seed is there in part.

        Args:
            seeds: at most as many as processes. A seed that several have is theirs by conditions.
        Raises: Stopped.
        """
        names, together = [row.name for row in self.result.rows], self.together
        sharing = range(together.rank % len(seeds), together.size, len(seeds))
        own = names[together.rank // len(seeds) :: len(sharing)]
        try:
            done = _Done(self._trained(seeds[together.rank % len(seeds)], own))
        except Stopped:
            done = _Done({}, True, self.interrupts.requested)
        found = together.all_say(done)
        if any(one.is_stopped for one in found):
            self.result.stopped_by = next((one.signal for one in found if one.signal is not None), None)
            raise Stopped
        for number, seed in enumerate(seeds):
            trials = {
                name: trial for one in found[number :: len(seeds)] for name, trial in one.trials.items()
            }
            self._enter(self.experiment.draw(self.problem, seed, self.settings), trials)
            yield

    def _trained(self, seed: int, names: Sequence[str]) -> dict[str, _Trial]:
        """Some conditions of a seed, trained.

        Raises: Stopped.
        """
        draw = self.experiment.draw(self.problem, seed, self.settings)
        training = Training(seed, self.interrupts)
        config.set_random_seed(seed)
        prepared = self.experiment.prepare(draw, training, self.settings)
        trials: dict[str, _Trial] = {}
        for name in names:
            trials[name] = self._trial(name, draw, prepared, training)
            self._tell(seed, name, trials[name].course, name == names[-1])
        return trials

    def _trial(self, condition: str, draw: Draw, prepared: Any, training: Training) -> _Trial:
        config.set_random_seed(draw.seed)
        model = self.experiment.network(condition, draw, prepared)
        course = training.fit(model, draw.x, draw.y, self.budget, test=(draw.x_test, draw.y_test))
        trained = sum(weight.value.size for weight in model.trainable_weights)
        measures = self.experiment.measures(condition, model, draw, prepared)
        return _Trial(course, model.count_params(), int(trained), measures)

    def _enter(self, draw: Draw, trials: dict[str, _Trial]) -> None:
        for row in self.result.rows:
            trial = trials[row.name]
            row.parameters, row.trained = trial.parameters, trial.trained
            row.accuracy.append(trial.course.accuracy[-1])
            row.loss.append(trial.course.loss[-1])
            row.train_accuracy.append(trial.course.train_accuracy)
            row.seconds.append(trial.course.seconds)
            row.curves.append(list(trial.course.accuracy))
            row.diverged.append(trial.course.diverged)
            for name, value in trial.measures.items():
                row.measures.setdefault(name, []).append(float(value))
        self._describe(draw)

    def _describe(self, draw: Draw) -> None:
        """Everything of the result that is not a row, as it stands after this seed."""
        result = self.result
        result.seeds.append(draw.seed)
        result.chance.append(draw.chance)
        result.data.update(images=len(draw.x), test_images=len(draw.x_test), classes=draw.classes)
        result.budget["updates"] = self.budget.updates(len(draw.x))
        result.answer = self.experiment.answer(result)
        result.notes = [*self.own_notes, *_seed_notes(result)]

    def _tell(self, seed: int, condition: str, course: Course, ends_seed: bool) -> None:
        self.trials_done += 1
        each = (time.monotonic() - self.started) / self.trials_done
        left = self.settings.seeds * len(self.result.rows) / self.together.size - self.trials_done
        if self.progress is not None:
            self.progress(
                Progress(
                    seed + 1 - self.settings.first_seed,
                    self.settings.seeds,
                    condition,
                    course.accuracy[-1],
                    course.seconds,
                    max(left, 0) * each,
                    ends_seed,
                )
            )


def _seed_notes(result: ExperimentResult) -> list[str]:
    notes = []
    if result.is_partial:
        notes.append(f"Not finished: {len(result.seeds)} of {result.planned_seeds} seeds.")
    if len(result.seeds) == 1:
        notes.append("One seed shows no spread: take several before believing a difference.")
    return notes
