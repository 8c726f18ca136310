"""What the page shows of a layer in a step, against all numbers of that step computed from the data."""

import numpy as np
import pytest

from kernelearn.errors import ArgumentError
from kernelearn.explain.passes.places import places_for_images, places_in_replay, places_in_step
from kernelearn.explain.passes.run_steps import StepReplays, replay_step
from kernelearn.layers import RandomTranslation
from kernelearn.recording import Run
from kernelearn.recording.stages import stages_of
from tests.sweeps import some

from .runs import NETWORKS, recorded

STEP = 4


@pytest.fixture(scope="module", params=list(NETWORKS))
def step(request, tmp_path_factory):
    """(run, weight, columns, replay from the data) of one network."""
    run, images, labels = recorded(tmp_path_factory.mktemp("columns") / "run", request.param)
    weight = run.about.kernel_name("conv")
    return run, weight, places_in_step(run, "conv", STEP, weight), replay_step(run, STEP, images, labels)


def close(mine, theirs):
    """Equal but for the rounding of float32, beside the largest of them."""
    theirs = np.asarray(theirs, np.float64)
    return np.allclose(mine, theirs, rtol=1e-4, atol=2e-5 * max(float(np.abs(theirs).max()), 1e-12))


@pytest.mark.parametrize("name", some(NETWORKS, quick=5))
def test_recording_the_places_leaves_the_training_as_it_is_to_the_bit(name, tmp_path):
    run, _, _ = recorded(tmp_path / "with", name, ledger_every=1)
    bare, _, _ = recorded(tmp_path / "without", name, ledger_every=0, gradients_every=0, full_layers=())
    for path in run.about.weights:
        mine, theirs = (one.weight_of_model(path, one.last_step) for one in (run, bare))
        assert np.array_equal(mine, theirs), path


def test_numbers_at_every_place(step):
    _, _, columns, replay = step
    places = stages_of(replay.graph, replay.units_of("conv"))
    assert [place.name for place in places] == list(columns.values)
    assert close(columns.x, replay.value(replay.units_of("conv").inputs[0]))
    for place in places:
        assert close(columns.values[place.name], replay.value(place.value)), place.name


def test_errors_at_every_place(step):
    _, _, columns, replay = step
    for place in stages_of(replay.graph, replay.units_of("conv")):
        assert close(columns.errors[place.name], replay.gradient(place.value)), place.name
    assert not columns.missing


def test_winners_are_those_of_the_step(step):
    _, _, columns, replay = step
    places = stages_of(replay.graph, replay.units_of("conv"))
    if places[-1].winner is None:
        assert columns.winner is None
    else:
        assert np.array_equal(columns.winner, replay.value(places[-1].winner))


def test_the_kernel_is_that_before_the_step_and_the_products_give_its_gradient(step):
    run, weight, columns, _ = step
    assert np.array_equal(columns.kernel, run.kernels("conv", STEP - 1, weight))
    part = run.ledger("conv", STEP, weight).parts[0]
    assert np.array_equal(columns.x, part.x) and np.array_equal(columns.errors["z"], part.delta)


def test_a_step_from_the_record_alone_is_the_step(step):
    run, weight, columns, _ = step
    again = StepReplays(run).at(STEP)
    mine = places_in_replay(again, "conv", STEP)
    for name, errors in columns.errors.items():
        assert close(mine.errors[name], errors), name
    older = places_in_step(_Older(run), "conv", STEP, weight, again)
    for name, errors in columns.errors.items():
        assert close(older.errors[name], errors), name
    last = list(columns.values)[-1]
    assert last == "z" or older.sources[f"d{last}"] == "replay"


class _Older:
    """A run that was recorded before the places behind a sum were."""

    def __init__(self, run):
        self._run = run

    def __getattr__(self, name):
        return getattr(self._run, name)

    def stages(self, *_):
        return ()


def test_images_in_inference_mode(step):
    run, _, _, _ = step
    images, model = run.probe_images, run.model(STEP)
    columns = places_for_images(model, "conv", images, STEP)
    names = [layer.name for layer in model.layers]
    behind = names.index("flat") - 1
    found = model.model_of([names[behind]]).predict(images, verbose=0)
    assert close(list(columns.values.values())[-1], found)


def test_a_network_that_augments_is_run_from_what_its_first_kernel_got(tmp_path):
    run, _, _ = recorded(tmp_path / "run", below=[RandomTranslation(0.2, 0.2)])
    steps = StepReplays(run)
    assert steps.steps() == [1, 2, 4, 6]
    for number in steps.steps():
        replay = steps.at(number)
        assert np.array_equal(
            replay.gradient(replay.units_of("conv").outputs[0]), run.ledger("conv", number).delta
        )
        assert np.isclose(replay.value(replay.program.outputs["loss"]), run.scalars("loss")[1][number - 1])


def test_a_step_that_depended_on_more_than_the_record_says_is_refused(tmp_path):
    from kernelearn import Sequential, layers
    from kernelearn.recording import Recorder

    from .runs import answer, pictures

    images, labels = pictures((6, 6, 1))
    model = Sequential(
        [layers.Input((6, 6, 1)), layers.Conv2D(2, 3, name="conv"), layers.Flatten(), answer()]
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    recorder = Recorder(tmp_path / "run", ledger_every=1)
    weights = {0: 1.0, 1: 5.0, 2: 0.2}
    model.fit(images, labels, batch_size=8, class_weight=weights, verbose=0, callbacks=[recorder])
    with pytest.raises(ArgumentError, match="other errors at conv than its record"):
        StepReplays(Run(tmp_path / "run")).at(1)


def test_a_step_without_a_ledger_names_the_nearest(small):
    with pytest.raises(ArgumentError, match="nearest is 4"):
        StepReplays(small[0]).at(5)
