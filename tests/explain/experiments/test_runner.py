"""Runs: equal budgets and images for all conditions, repeatable, stopped without half seeds."""

import json
import os
import signal

import numpy as np
import pytest

from kernelearn.data import load
from kernelearn.errors import ArgumentError, DataError, FormatError, UnknownNameError
from kernelearn.explain.experiments import (
    EXPERIMENTS,
    Experiment,
    ExperimentResult,
    ExperimentSettings,
    Problem,
    Row,
    Transfer,
    run_experiment,
)
from kernelearn.explain.experiments.networks import freeze, small_network
from kernelearn.explain.experiments.tables import as_csv, as_markdown


class Recording(Experiment):
    """Two equal conditions and a frozen one; remembers the draws, and can be made to stop or diverge."""

    name, question, baseline = "recording", "Is the same the same?", "one"

    def __init__(self, stop_at=None, diverge=False):
        self.draws, self.models, self.stop_at, self.diverge = [], [], stop_at, diverge

    def conditions(self, problem):
        return {"one": "a network", "twin": "the same", "fixed": "all frozen but the classifier"}

    def network(self, condition, draw, prepared):
        self.draws.append((condition, draw))
        if self.stop_at == (draw.seed, condition):
            os.kill(os.getpid(), signal.SIGINT)
        model = small_network(draw.input_shape, draw.classes)
        if self.diverge and condition == "twin":
            model.weights[-1].assign(np.full(draw.classes, np.finfo("float32").max))
            model.weights[0].assign(np.full_like(model.weights[0].numpy(), np.nan))
        self.models.append(model)
        return freeze(model, "conv1", "conv2") if condition == "fixed" else model

    def answer(self, result):
        return f"twin is {result.compare('twin').verdict}."


@pytest.fixture(scope="module")
def finished(stripes):
    """A small result."""
    settings = ExperimentSettings(epochs=2, seeds=3, images=64, test_images=40)
    return run_experiment("frozen", stripes, settings)


def test_conditions_of_a_seed_see_the_same_and_seeds_see_others(stripes, tiny):
    experiment = Recording()
    result = run_experiment(experiment, stripes, tiny)
    first, second = experiment.draws[:3], experiment.draws[3:]
    assert [name for name, _ in first] == ["one", "twin", "fixed"]
    assert all(draw is first[0][1] for _, draw in first) and all(draw is second[0][1] for _, draw in second)
    assert not np.array_equal(first[0][1].x, second[0][1].x)
    one, twin, fixed = result.rows
    assert one.curves == twin.curves and one.loss == twin.loss
    assert one.curves != fixed.curves
    assert (
        [model.optimizer.iterations for model in experiment.models]
        == [4] * 6
        == [result.budget["updates"]] * 6
    )
    assert (one.trained, fixed.trained) == (one.parameters, 2 * 2 * 32 * 6 + 6)


def test_test_images_are_never_trained_on(stripes, tiny):
    for seed in range(4):
        draw = stripes.draw(seed, tiny.images, tiny.test_images)
        seen = {image.tobytes() for image in draw.x}
        assert not any(image.tobytes() in seen for image in draw.x_test)
        assert (len(draw.x), len(draw.x_test)) == (64, 40)


def test_a_test_part_that_the_data_brings_is_used():
    rng = np.random.default_rng(0)
    x, y = rng.uniform(size=(60, 8, 8, 1)).astype("float32"), np.arange(60) % 3
    mine = load((x[:40], y[:40]), test=(x[40:], y[40:]))
    draw = Problem.from_source(mine).draw(0, 100, 15)
    held_out = {image.tobytes() for image in x[40:]}
    assert len(draw.x) == 40 and len(draw.x_test) == 15
    assert all(image.tobytes() in held_out for image in draw.x_test)
    assert not any(image.tobytes() in held_out for image in draw.x)


def test_the_same_again_gives_the_same(stripes, tiny, finished):
    again = run_experiment(
        "frozen", stripes, ExperimentSettings(epochs=2, seeds=3, images=64, test_images=40)
    )
    for row, other in zip(finished.rows, again.rows):
        assert (row.accuracy, row.loss, row.curves) == (other.accuracy, other.loss, other.curves)
    assert finished.answer == again.answer


def test_the_score_is_that_of_the_network(stripes, tiny):
    experiment = Recording()
    result = run_experiment(experiment, stripes, tiny)
    for number, (model, (name, draw)) in enumerate(zip(experiment.models, experiment.draws)):
        row, seed = result.row(name), number // 3
        predicted = model.predict(draw.x_test, verbose=0).argmax(axis=1)
        assert row.accuracy[seed] == pytest.approx(np.mean(predicted == draw.y_test))
        assert row.curves[seed][-1] == row.accuracy[seed] and len(row.curves[seed]) == tiny.epochs
        assert row.seconds[seed] > 0


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_runs_and_answers(name, stripes, tiny):
    experiment = Transfer(per_class=5, new_epochs=2) if name == "transfer" else EXPERIMENTS[name]()
    result = run_experiment(experiment, stripes, tiny)
    assert result.names == list(experiment.conditions(stripes)) and result.baseline in result
    for row in result.rows:
        assert len(row.accuracy) == len(row.loss) == len(row.seconds) == len(result.seeds) == 2
        assert all(0 <= value <= 1 for value in row.accuracy) and row.trained <= row.parameters
        assert all(len(values) == 2 for values in row.measures.values())
    assert len(result.answer) > 40 and "nan" not in result.answer
    assert all(name in str(result) for name in result.names) and result.answer in str(result)
    assert ExperimentResult.from_dict(json.loads(json.dumps(result.to_dict()))) == result


def test_other_seeds_are_other_repetitions_of_the_same(stripes):
    def accuracies(**seeds):
        settings = ExperimentSettings(epochs=1, images=64, test_images=40, **seeds)
        result = run_experiment("frozen", stripes, settings)
        return result.seeds, result.row("train all").loss

    seeds, later = accuracies(seeds=2, first_seed=3)
    assert seeds == [3, 4]
    assert accuracies(seeds=1, first_seed=4) == ([4], later[1:])
    assert accuracies(seeds=1)[1] != later[:1]
    with pytest.raises(ArgumentError, match="first_seed"):
        ExperimentSettings(first_seed=-1)


def test_a_stop_keeps_the_finished_seeds(stripes):
    settings = ExperimentSettings(epochs=1, seeds=4, images=64, test_images=40)
    saved = []
    before = signal.getsignal(signal.SIGINT)
    result = run_experiment(
        Recording(stop_at=(2, "twin")), stripes, settings, after_seed=lambda r: saved.append(len(r.seeds))
    )
    assert result.seeds == [0, 1] and saved == [1, 2] and result.is_partial
    assert result.stopped_by == signal.SIGINT
    assert {len(row.accuracy) for row in result.rows} == {2}
    assert "Not finished: 2 of 4 seeds." in str(result)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_stop_before_the_first_seed_is_an_interrupt(stripes, tiny):
    with pytest.raises(KeyboardInterrupt):
        run_experiment(Recording(stop_at=(0, "fixed")), stripes, tiny)


def test_a_network_that_diverges_does_not_end_the_run(stripes, tiny):
    result = run_experiment(Recording(diverge=True), stripes, tiny)
    assert result.row("twin").diverged == [True, True] and result.row("one").diverged == [False, False]
    assert len(result.row("twin").curves[0]) == tiny.epochs
    assert "twin (diverged)" in str(result)


def test_progress_tells_where_it_is(stripes, tiny):
    told = []
    run_experiment(Recording(), stripes, tiny, progress=told.append)
    assert [(p.seed, p.condition, p.ends_seed) for p in told] == [
        (1, "one", False),
        (1, "twin", False),
        (1, "fixed", True),
        (2, "one", False),
        (2, "twin", False),
        (2, "fixed", True),
    ]
    assert told[-1].remaining == 0 and "seed 2 of 2, fixed: " in str(told[-1])


def test_results_are_saved_and_loaded(finished, tmp_path):
    assert ExperimentResult.load(finished.save(tmp_path / "new" / "r.json")) == finished
    lines = (finished.save(tmp_path / "r.csv")).read_text().splitlines()
    assert len(lines) == 1 + 3 * len(finished.rows) and lines[1].startswith("frozen,train all,0,")
    assert float(lines[2].split(",")[3]) == finished.row("train all").accuracy[1]
    assert finished.save(tmp_path / "r.md").read_text().count("| freeze dense |") == 1
    assert str(finished) in finished.save(tmp_path / "r.txt").read_text()
    with pytest.raises(ArgumentError, match=r"\.json, \.csv, \.md or \.txt"):
        finished.save(tmp_path / "r.xls")


def test_the_table_holds_the_numbers(finished):
    row = finished.row("freeze dense")
    mean, std = 100 * np.mean(row.accuracy), 100 * np.std(row.accuracy, ddof=1)
    assert f"| freeze dense | {mean:.1f} ± {std:.1f} |" in as_markdown(finished)
    difference = 100 * np.mean(np.subtract(row.accuracy, finished.row("train all").accuracy))
    assert f"| {difference:+.1f} (" in as_markdown(finished)
    assert as_csv(finished).splitlines()[0].startswith("experiment,condition,seed,accuracy")


def test_damaged_results_are_refused(finished, tmp_path):
    path = finished.save(tmp_path / "r.json")
    path.write_text(path.read_text()[:-200])
    with pytest.raises(FormatError, match="Cannot read"):
        ExperimentResult.load(path)
    with pytest.raises(FormatError, match="format 1"):
        ExperimentResult.from_dict({"format": 2})
    with pytest.raises(FormatError, match="damaged"):
        ExperimentResult.from_dict({"format": 1, "rows": []})


def test_what_it_refuses(tiny, finished):
    with pytest.raises(UnknownNameError, match="Did you mean 'frozen'"):
        run_experiment("frosen", "digits", tiny)
    rng = np.random.default_rng(0)
    with pytest.raises(DataError, match="at least two classes"):
        run_experiment("frozen", (rng.normal(size=(20, 8, 8, 1)), rng.normal(size=20)), tiny)
    with pytest.raises(DataError, match="at least 10"):
        run_experiment("frozen", (rng.normal(size=(6, 8, 8, 1)), np.arange(6) % 2), tiny)
    with pytest.raises(ArgumentError, match="No condition is called 'x'"):
        finished.row("x")
    with pytest.raises(ArgumentError, match="has no 'flops'"):
        finished.compare("train all", quantity="flops")


def test_time_is_the_median_of_the_seeds(finished):
    row = Row("slow once", "", seconds=[1.0, 9.0, 2.0])
    assert row.typical_seconds == 2.0
    times = [
        float(line.split("|")[8]) for line in as_markdown(finished).splitlines()[4 : 4 + len(finished.rows)]
    ]
    assert times == [round(row.typical_seconds, 2) for row in finished.rows]


def test_on_handwritten_digits_learned_kernels_beat_a_random_classifier():
    settings = ExperimentSettings(epochs=4, seeds=1, images=600, test_images=300)
    result = run_experiment("frozen", "digits", settings)
    assert result.data == {
        "name": "digits",
        "input_shape": [8, 8, 1],
        "images": 600,
        "test_images": 300,
        "classes": 10,
    }
    for row in result.rows:
        assert min(row.accuracy) > 3 * max(result.chance), row.name
    assert result.row("train all").summary().mean > result.row("freeze kernels").summary().mean


def test_notebooks_show_a_table(finished):
    assert finished._repr_markdown_() == as_markdown(finished)
