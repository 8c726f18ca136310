"""`kernelearn convert`: between kinds of files, what is lost, and comparisons that can fail."""

import json

import numpy as np
import pytest

import kernelearn
from kernelearn import Input, Model, Sequential, layers, utils
from kernelearn.cli.convert import comparing, origins
from kernelearn.errors import MissingDependencyError
from kernelearn.optimizers import Adam
from kernelearn.schedules import OneCycle
from tests import fake_format


@pytest.fixture(autouse=True)
def fake(monkeypatch):
    fake_format.enter(monkeypatch)


@pytest.fixture
def small(tmp_path):
    """A compiled network with names, in a file of ours."""
    utils.set_random_seed(0)
    model = Sequential(
        [
            Input((8, 8, 1)),
            layers.Conv2D(4, 3, name="conv"),
            layers.Dropout(0.5, name="drop"),
            layers.Flatten(),
            layers.Dense(10, activation="softmax", name="head"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    rng = np.random.default_rng(0)
    model.fit(rng.random((8, 8, 8, 1)), rng.integers(0, 10, 8), verbose=0)
    model.metadata["class_names"] = [str(i) for i in range(10)]
    model.get_layer("conv").trainable = False
    path = tmp_path / "small.kernelearn"
    model.save(path)
    return path


def test_there_and_back(run, small, tmp_path):
    there = run("convert", small, tmp_path / "there.fake")
    assert there.code == 0, there.err
    assert "within the rounding bound" in there.out
    assert "Not carried: the names of the classes." in there.out
    back = run("convert", tmp_path / "there.fake", tmp_path / "back.kernelearn", "--json")
    assert back.code == 0 and back.json["compared"][0]["difference"] == 0
    first, last = (kernelearn.load_model(p).get_weights() for p in (small, tmp_path / "back.kernelearn"))
    assert all(np.array_equal(a, b) for a, b in zip(first, last))


def test_factors_of_the_learning_rate_are_left_out_and_told(run, small, tmp_path):
    model = kernelearn.load_model(small)
    model.get_layer("head").learning_rate_multiplier = 2.0
    model.save(tmp_path / "rates.kernelearn")
    done = run("convert", tmp_path / "rates.kernelearn", tmp_path / "rates.fake", "--json")
    assert "factors of the learning rate of single layers" in done.json["not_carried"]
    assert kernelearn.load_model(tmp_path / "rates.fake").get_layer("head").learning_rate_multiplier == 1.0
    own = run("convert", tmp_path / "rates.kernelearn", tmp_path / "own.kernelearn", "--json")
    assert own.json["not_carried"] == []


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_a_training_without_words_in_the_file_is_left_out_and_told(run, small, tmp_path, ending):
    model = kernelearn.load_model(small)
    model.compile(Adam(OneCycle(0.01, 10)), "sparse_categorical_crossentropy")
    model.save(tmp_path / "cycle.kernelearn")
    done = run("convert", tmp_path / "cycle.kernelearn", tmp_path / f"x{ending}", "--json")
    assert done.code == 0, done.err
    assert "OneCycle" in done.json["why_not"]
    assert any("the optimiser (Adam)" in line for line in done.json["not_carried"])
    back = kernelearn.load_model(tmp_path / f"x{ending}")
    assert not back.compiled and not back.get_layer("conv").trainable


def test_files_that_can_only_be_read_are_told(run, small, tmp_path):
    refused = run("convert", small, tmp_path / "x.pt2")
    assert refused.code == 1 and "not possible; loading a model from one is." in refused.err


def test_ours_loses_nothing(run, small, tmp_path):
    done = run("convert", small, tmp_path / "same.kernelearn", "--json")
    assert done.json["not_carried"] == [] and done.json["not_compared"] == []


def test_weights_alone(run, small, tmp_path):
    weights = tmp_path / "small.fakeweights"
    written = run("convert", small, weights)
    assert written.code == 0, written.err
    assert (
        "the structure of the network" in written.out and "the optimiser (Adam) and its state" in written.out
    )
    into = run("convert", weights, tmp_path / "again.kernelearn", "--weights-into", small)
    assert into.code == 0, into.err
    first, last = (kernelearn.load_model(p).get_weights() for p in (small, tmp_path / "again.kernelearn"))
    assert all(np.array_equal(a, b) for a, b in zip(first, last))


def test_names_have_to_agree_or_it_is_said(run, small, tmp_path):
    other = Sequential(
        [Input((8, 8, 1)), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(10, activation="softmax")]
    )
    other.save(tmp_path / "other.kernelearn")
    run("convert", small, tmp_path / "w.fake")
    words = (
        "convert",
        tmp_path / "w.fake",
        tmp_path / "o.kernelearn",
        "--weights-into",
        tmp_path / "other.kernelearn",
    )
    refused = run(*words)
    assert refused.code == 1 and "--by-position" in refused.err
    assert not (tmp_path / "o.kernelearn").exists()
    assert run(*words, "--by-position").code == 0


def test_range_names_and_sizes_are_put_into_the_file(run, tmp_path):
    model = Sequential([Input((None, None, 1)), layers.Conv2D(3, 3), layers.GlobalAveragePooling2D()])
    model.save(tmp_path / "any.fake")
    words = ("--input-shape", "8x8x1", "--scale", "0..255", "--class-names", "a,b,c")
    done = run("convert", tmp_path / "any.fake", tmp_path / "fixed.kernelearn", *words)
    assert done.code == 0, done.err
    fixed = kernelearn.load_model(tmp_path / "fixed.kernelearn")
    assert fixed.input_shape == (None, 8, 8, 1) and fixed.metadata["class_names"] == ["a", "b", "c"]
    x = np.random.default_rng(0).random((2, 8, 8, 1), "float32")
    np.testing.assert_allclose(fixed.predict(x, verbose=0), model.predict(255 * x, verbose=0), rtol=1e-4)
    wrong = run("convert", tmp_path / "any.fake", tmp_path / "no.kernelearn", "--input-shape", "8x8x3")
    assert wrong.code == 1 and "does not fit" in wrong.err


def test_what_cannot_be_is_refused_and_leaves_nothing(run, small, tmp_path):
    for target, message in ((tmp_path / "x.foo", "says no kind of file"), (small, "exists already")):
        refused = run("convert", small, target)
        assert refused.code == 1 and message in refused.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small.kernelearn"]


def test_images_for_several_inputs_are_refused(run, tmp_path):
    a, b = Input((3,), name="a"), Input((3,), name="b")
    Model([a, b], layers.Add()([a, b])).save(tmp_path / "two.kernelearn")
    assert run("convert", tmp_path / "two.kernelearn", tmp_path / "two.fake").code == 0
    refused = run("convert", tmp_path / "two.kernelearn", tmp_path / "b.fake", "--check", "digits")
    assert refused.code == 1 and "one input" in refused.err


# --- against the programs that files are from


def by_another_program(monkeypatch, change=lambda y: y):
    """A program that computes our made-up files, as they are or with a fault."""

    def runner(path, inputs):
        return [change(kernelearn.load_model(path).predict(inputs[0], verbose=0))]

    monkeypatch.setitem(origins._RUNNERS, "Fake", runner)


def test_both_programs_are_asked(run, small, tmp_path, monkeypatch):
    by_another_program(monkeypatch)
    run("convert", small, tmp_path / "a.fake")
    done = run("convert", tmp_path / "a.fake", tmp_path / "b.fake", "--check", "digits", "--json")
    assert done.code == 0, done.out
    assert [one["what"].rpartition("/")[2] for one in done.json["compared"]] == [
        "b.fake, read again",
        "a.fake, by its own program",
        "b.fake, by its own program",
    ]
    assert all(one["images"] == 256 and one["is_within"] for one in done.json["compared"])


@pytest.mark.parametrize(
    "change",
    [
        lambda y: y[:, ::-1],
        lambda y: y * 1.001,
        lambda y: y[:, :5],
        lambda y: np.where(y > y.mean(), np.nan, y),
    ],
    ids=["turned", "a thousandth", "another shape", "nan"],
)
def test_a_difference_ends_with_one(run, small, tmp_path, monkeypatch, change):
    by_another_program(monkeypatch, change)
    done = run("convert", small, tmp_path / "a.fake", "--check", "digits")
    assert done.code == 1 and "OUTSIDE of the rounding bound" in done.out


def test_a_program_that_is_not_there_is_told(run, small, tmp_path, monkeypatch):
    def missing(path, inputs):
        raise MissingDependencyError("Fake is not installed.")

    monkeypatch.setitem(origins._RUNNERS, "Fake", missing)
    done = run("convert", small, tmp_path / "a.fake", "--check", "digits", "--json")
    assert done.code == 0 and "Fake is not installed" in done.json["not_compared"][0]


def test_the_bound_grows_with_what_rounding_does():
    model = Sequential([Input((50,)), layers.Dense(1, use_bias=False, name="d")])
    x = np.random.default_rng(0).normal(size=(4, 50)).astype("float32")
    bounds = []
    for size in (1.0, 1e6):
        model.set_weights([np.full((50, 1), size, "float32")])
        ours, exact = comparing.outputs_of(model, [x]), comparing.exact_outputs(model, [x])
        assert exact[0].dtype == np.float64
        np.testing.assert_allclose(exact[0], x.astype("float64").sum(1, keepdims=True) * size)
        found = comparing.compare("itself", ours, ours, exact)
        assert found.difference == 0 and found.is_within and json.dumps(found.to_dict())
        bounds.append(found.bound)
    assert bounds[1] > 1e5 * bounds[0]


def test_images_are_laid_out_as_the_other_program_takes_them():
    x = np.zeros((2, 5, 6, 3))
    assert origins._laid_out(x, ["n", 3, 5, 6]).shape == (2, 3, 5, 6)
    assert origins._laid_out(x, [None, 5, 6, 3]).shape == x.shape
    (found,) = origins.alike([np.zeros((2, 7, 5, 6))], [(2, 5, 6, 7)])
    assert found.shape == (2, 5, 6, 7)
