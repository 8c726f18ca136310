"""Trainings shared out among processes: the numbers of one process, and one that is stopped stops all."""

import threading

import pytest
from tests.parallel.threads import run_together

from kernelearn.explain.experiments import ExperimentSettings, run_experiment, runner
from kernelearn.explain.experiments.base import Experiment
from kernelearn.explain.experiments.networks import small_network
from kernelearn.explain.experiments.training import Course
from kernelearn.parallel import world

CONDITIONS = {"one": "a network", "twin": "the same", "third": "once more"}


class Counting(Experiment):
    """Remembers who trained what."""

    name, question, baseline = "counting", "Who trains what?", "one"

    def __init__(self):
        self.trained, self.prepared = [], []

    def conditions(self, problem):
        return CONDITIONS

    def prepare(self, draw, training, settings):
        self.prepared.append(draw.seed)

    def network(self, condition, draw, prepared):
        self.trained.append((draw.seed, condition))
        return small_network(draw.input_shape, draw.classes)

    def answer(self, result):
        return f"{len(result.seeds)} seeds"


@pytest.fixture
def quick(monkeypatch):
    """Trainings that are not done, and an exchange for each thread."""
    local = threading.local()

    def fit(self, model, x, y, budget, test=None):
        course = Course()
        course.accuracy, course.loss, course.train_accuracy = [self.seed / 10], [0.5], 0.5
        return course

    monkeypatch.setattr(runner.Training, "fit", fit)

    class Apart:
        def __enter__(self):
            return local.exchange

        def __exit__(self, *error):
            return None

    monkeypatch.setattr(runner.world, "apart", Apart)

    def run(communicator, stripes, settings):
        local.exchange = world.OverMPI(communicator)
        experiment, told = Counting(), []
        result = run_experiment(experiment, stripes, settings, progress=told.append)
        return experiment, result, told

    return run


def numbers(result):
    return {row.name: (row.accuracy, row.loss) for row in result.rows}, result.seeds, result.answer


@pytest.mark.parametrize(("size", "seeds"), [(2, 4), (2, 3), (3, 1), (4, 2), (7, 2), (5, 1)])
def test_every_training_is_done_once_and_told_to_all(quick, stripes, size, seeds):
    settings = ExperimentSettings(epochs=1, seeds=seeds, first_seed=5, images=64, test_images=40)
    found = run_together(size, lambda c: quick(c, stripes, settings))
    trained = [one for experiment, _, _ in found for one in experiment.trained]
    assert sorted(trained) == sorted((seed, name) for seed in range(5, 5 + seeds) for name in CONDITIONS)
    (alone,) = run_together(1, lambda c: quick(c, stripes, settings))
    for _, result, _ in found:
        assert numbers(result) == numbers(alone[1])
    assert [bool(told) for _, _, told in found] == [True] + [False] * (size - 1)


def test_seeds_are_shared_out_before_conditions(quick, stripes):
    settings = ExperimentSettings(epochs=1, seeds=5, images=64, test_images=40)
    found = run_together(2, lambda c: quick(c, stripes, settings))
    assert [experiment.prepared for experiment, _, _ in found] == [[0, 2, 4], [1, 3, 4]]


def test_one_that_is_stopped_stops_all_behind_the_seeds_that_are_whole(quick, stripes, monkeypatch):
    fit = runner.Training.fit

    def stopped(self, *arguments, **options):
        if self.seed == 3:
            self.interrupts.requested = 15
            raise runner.Stopped
        return fit(self, *arguments, **options)

    monkeypatch.setattr(runner.Training, "fit", stopped)
    settings = ExperimentSettings(epochs=1, seeds=6, images=64, test_images=40)
    for _, result, _ in run_together(2, lambda c: quick(c, stripes, settings)):
        assert result.seeds == [0, 1]
        assert result.is_partial
        assert result.stopped_by == 15
