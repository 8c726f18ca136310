"""The answers of the page's addresses are the library's numbers."""

import json

import numpy as np
import pytest

from kernelearn import explain
from kernelearn.explain.passes.image import image
from kernelearn.recording import Recorder
from kernelearn.view.page.answers import OF_PAGE, OF_RUN, answer
from kernelearn.view.page.blocks import Blocks, absent, as_ranges, blocks_answer, json_answer, read_blocks
from kernelearn.view.page.library import Library

from .conftest import got
from .runs import recorded

STEP = 4


def test_blocks_come_back_as_they_were():
    arrays = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b": np.array([np.nan, 1.5]),
        "c": np.arange(3),
        "d": np.array([True, False]),
        "empty": np.zeros((0, 4), np.float32),
    }
    found = blocks_answer(Blocks(arrays, {"name": "ü", "number": np.float32(0.5)}, {"e": absent("why")}))
    header, back = read_blocks(found.body)
    assert header["name"] == "ü" and header["number"] == 0.5 and header["missing"]["e"]["why"] == "why"
    assert [back[n].dtype.name for n in arrays] == ["float32", "float64", "int32", "uint8", "float32"]
    assert all(np.array_equal(back[n], arrays[n], equal_nan=n == "b") for n in arrays)
    assert all(about["offset"] % 8 == 0 for about in header["blocks"].values())
    assert (4 + int.from_bytes(found.body[:4], "little")) % 8 == 0


@pytest.mark.parametrize(
    "steps", [[], [5], [1, 2], [0, 1, 2, 9], [0, 10, 20, 21, 22], [1, 61, 122, 183], list(range(0, 100, 7))]
)
def test_ranges_say_the_steps(steps):
    ranges = as_ranges(steps)
    said = [k for first, last, stride in ranges for k in range(first, last + 1, stride)]
    assert said == steps


def test_numbers_that_are_not_finite_are_null():
    assert json.loads(json_answer({"a": float("nan"), "b": [np.inf, 1.0]}).body) == {
        "a": None,
        "b": [None, 1.0],
    }


def test_what_is_not_recorded_names_its_neighbours():
    about = absent("why", [1, 61, 122], 70)
    assert (about["nearest"], about["before"], about["after"]) == (61, 61, 122)
    assert absent("why", [], 70)["nearest"] is None


def test_the_run_as_a_whole(ask, small):
    run = small[0]
    about = ask("")
    assert (
        about["last_step"] == 6
        and about["status"] == "finished"
        and about["parameters"] == sum(int(np.prod(shape)) for shape in run.about.weights.values())
    )
    layer = next(one for one in about["layers"] if one["name"] == "conv")
    assert layer["how"] == "(3*3*1 + 1) * 4 = 40" and layer["parameters"] == 40 and layer["is_full"]
    assert layer["operator"]["kind"] == "conv" and layer["operator"]["stride"] == [1, 1]
    assert [column["name"] for column in layer["columns"]] == ["z", "a", "pool"]
    assert layer["weights"]["kernel"]["ledgers"] == as_ranges([1, 2, 4, 6])
    opening = about["opening"]
    assert (
        tuple(opening["index"]) == explain.moved_most(run, "conv")[0] and opening["step"] in run.ledger_steps
    )
    assert about["probe"]["count"] == len(run.probe_images)


def test_weights_before_and_after(ask, small):
    run = small[0]
    _, arrays = ask("weights", layer="conv", step=STEP)
    for name in ("kernel", "bias"):
        assert np.array_equal(arrays[name], run.kernels("conv", STEP, name))
        assert np.array_equal(arrays[f"{name}:before"], run.kernels("conv", STEP - 1, name))
        assert np.array_equal(arrays[f"{name}:gradient"], run.gradient("conv", STEP, name))
    header, _ = ask("weights", layer="conv", step=0)
    assert set(header["missing"]) == {f"{n}:{w}" for n in ("kernel", "bias") for w in ("before", "gradient")}


def test_film_and_trace(ask, small):
    run = small[0]
    _, arrays = ask("film", layer="conv", count=3)
    assert arrays["steps"].tolist() == [0, 3, 6]
    assert np.array_equal(arrays["kernel"][1], run.kernels("conv", 3))
    _, part = ask("film", layer="conv", steps="0,5", filter=2, channel=0)
    assert np.array_equal(part["kernel"][1], run.kernels("conv", 5)[:, :, 0, 2])
    _, arrays = ask("trace", layer="conv", index="1,2,0,3")
    assert np.array_equal(arrays["values"], run.trace("conv", (1, 2, 0, 3))[1])
    assert np.array_equal(arrays["gradients"], run.gradient_trace("conv", (1, 2, 0, 3))[1])


def test_curves_and_distances(ask, small):
    run = small[0]
    _, arrays = ask("scalars", names="loss,accuracy")
    assert np.array_equal(arrays["loss"], run.scalars("loss")[1])
    assert set(arrays) == {"loss", "accuracy", "steps:loss", "steps:accuracy"}
    _, arrays = ask("distances", layer="conv")
    assert np.array_equal(arrays["from_start"], explain.learning_curves(run, "conv").from_start)


@pytest.mark.parametrize("weight, index", [("kernel", (1, 2, 0, 3)), ("bias", (2,))])
def test_a_ledger(ask, small, weight, index):
    run = small[0]
    book = explain.ledger(run, "conv", STEP, (weight, *index))
    told = ask("ledger", layer="conv", step=STEP, weight=weight, index=",".join(map(str, index)))
    assert (
        told["total"] == book.total
        and told["gradient"] == book.gradient
        and told["residual"] == book.residual
    )
    assert told["terms"] == len(book.terms)
    by_image = book.by_image()
    assert {one["image"]: one["sum"] for one in told["images"]} == dict(
        zip(by_image.keys.tolist(), by_image.sums)
    )
    sizes = [abs(one["sum"]) for one in told["images"]]
    assert sizes == sorted(sizes, reverse=True)
    assert np.array_equal(
        np.reshape(told["positions"]["sums"], told["positions"]["shape"]), book.by_position()
    )
    best = book.top(1)[0]
    assert told["top"][0]["term"] == best.term and told["top"][0]["image"] == best.image


def test_an_update_adds_up(ask, small):
    run, index = small[0], (1, 2, 0, 3)
    split = explain.update_split(run, "conv", STEP)
    told = ask("update", layer="conv", step=STEP, index="1,2,0,3")
    assert {part["name"]: part["value"] for part in told["parts"]} == {
        n: p[index] for n, p in split.parts.items()
    }
    total = told["before"] + sum(part["value"] for part in told["parts"]) + told["residual"]
    assert np.isclose(total, told["after"], rtol=1e-15, atol=0)
    header, arrays = ask("updates", layer="conv", step=STEP)
    assert np.array_equal(arrays["part:gradient"], split.parts["gradient"]) and header["is_exact"]
    assert header["words"]["momentum"] == "earlier gradients"


def test_a_history(ask, small):
    past = explain.history(small[0], "conv", (1, 2, 0, 3))
    told = ask("history", layer="conv", index="1,2,0,3")
    assert {part["name"]: part["value"] for part in told["parts"]} == past.totals
    assert (told["start"], told["end"]) == (past.before, past.after)


def test_a_batch_and_its_cuts(ask, small):
    run = small[0]
    header, whole = ask("batch", layer="conv", step=STEP)
    factors = run.ledger("conv", STEP)
    assert np.array_equal(whole["x"], factors.x) and np.array_equal(whole["dz"], factors.delta)
    assert np.array_equal(whole["images"], factors.images) and np.array_equal(whole["labels"], factors.labels)
    assert header["sources"]["dpool"] == "record" and header["sources"]["da"] == "computed"
    _, cut = ask("batch", layer="conv", step=STEP, filter=2, channel=0, rows="5,1")
    assert np.array_equal(cut["da"], whole["da"][[5, 1]][..., 2]) and np.array_equal(
        cut["x"], whole["x"][[5, 1]][..., 0]
    )
    assert np.array_equal(cut["kernel"], whole["kernel"][:, :, 0, 2]) and cut["bias"].shape == ()
    _, cut = ask("batch", layer="conv", step=STEP, channel=0, only="x,kernel")
    assert set(cut) == {"x", "kernel", "images", "labels"} - {"images", "labels"} and cut["kernel"].shape == (
        3,
        3,
        4,
    )
    header, arrays = ask("batch", layer="answer", step=STEP)
    assert "da" not in arrays and "softmax" in header["missing"]["da"]["why"]


def test_probe_images_with_the_weights_after_the_step(ask, small):
    run = small[0]
    _, arrays = ask("probe", layer="conv", step=3)
    assert np.array_equal(arrays["kernel"], run.kernels("conv", 3))
    number = explain.unit(run, "conv", filter=1, at=(2, 3), image=run.probe_images[2], step=3)
    assert np.isclose(arrays["z"][2, 2, 3, 1], number.z, rtol=1e-12)
    header, _ = ask("probe", layer="answer", step=3)
    assert header["missing"] == {}


def test_one_image_through_the_network(ask, small):
    run, images, labels = small
    through = image(run, images, labels, step=STEP)
    row = int(np.flatnonzero(run.batch(STEP).images == through.image)[0])
    header, arrays = ask("network", step=STEP, row=row)
    assert header["image"] == through.image and header["label"] == through.label
    assert np.isclose(header["loss"], through.loss) and np.isclose(header["loss_after"], through.loss_after)
    for one in through.layers:
        assert np.allclose(arrays[f"value:{one.layer}"], one.maps, atol=1e-6)
        if one.errors is not None:
            assert np.allclose(arrays[f"error:{one.layer}"], one.errors, atol=1e-7)
    header, arrays = ask("network", step=STEP, probe=1)
    expected = run.model(STEP).predict(run.probe_images[1:2], verbose=0)[0]
    assert np.allclose(header["prediction"], expected, atol=1e-6)


def test_the_way_of_an_error(ask, small):
    run, images, labels = small
    _, arrays = ask("batch", layer="conv", step=STEP)
    row, p, q, f = (int(i) for i in np.unravel_index(np.abs(arrays["dz"]).argmax(), arrays["dz"].shape))
    number = int(arrays["images"][row])
    theirs = explain.delta(run, "conv", images, labels, filter=f, at=(p, q), image=number, step=STEP)
    told = ask("path", layer="conv", step=STEP, row=row, filter=f, at=f"{p},{q}", most=1)
    assert np.isclose(told["error"], theirs.error) and np.isclose(
        told["recorded"], arrays["dz"][row, p, q, f]
    )
    assert [hop["operator"] for hop in told["hops"]] == [hop.operator for hop in theirs.hops]
    for hop in told["hops"]:
        terms = (
            sum(part["term"] for part in hop["parts"])
            + hop["rest"]
            + (hop["end"]["error"] if hop["end"] else 0)
        )
        assert np.isclose(terms, hop["total"])


def test_a_layer_as_a_dense_one(ask, small):
    run = small[0]
    wide = explain.dense_equivalent(run.model().get_layer("conv"), (8, 8, 1)).with_kernel(
        run.kernels("conv", STEP)
    )
    told = ask("dense", layer="conv", step=STEP, filter=2, channel=0)
    block = np.zeros(told["shape"])
    block[told["rows"], told["columns"]] = np.array(told["kernel"])[told["ties"]]
    assert np.allclose(block, wide.matrix.toarray().reshape(36, 4, 64, 1)[:, 2, :, 0])
    assert told["zeros"] + told["tied"] == told["entries"] and sum(told["counts"]) == told["tied"]


def test_families_beside_chance(ask, small):
    run = small[0]
    told = ask("families", layer="conv", step=STEP)
    bank = explain.filter_bank(run, "conv", STEP, samples=499)
    assert [one["best"] for one in told["filters"]] == bank.best
    assert [one["p"] for one in told["filters"]] == bank.p_best.tolist()
    assert 0 < told["expected_by_chance"]["largest_cosine"] <= 1
    response = np.reshape(told["response"]["filters"][1], (24, 24))
    assert np.allclose(response, explain.frequency_response(run.kernels("conv", STEP), 24)[..., 1])


def test_hints_lead_to_a_view(ask, small):
    told = ask("hints")["hints"]
    assert [one["text"] for one in told] == [hint.text for hint in explain.hints(small[0])]
    assert all(one["view"]["view"] in ("bench", "families") for one in told)


def test_two_runs(tmp_path, small):
    other, _, _ = recorded(tmp_path / "other", optimizer="sgd")
    library = Library([small[0].folder, other.folder])
    told = got(library, "compare", runs="small,other")
    theirs = explain.compare_runs([small[0], other], ["small", "other"]).to_dict()
    assert (
        told["settings"] == json.loads(json_answer(theirs["settings"]).body)
        and len(told["curves"]["loss"]) == 2
    )
    assert [one["key"] for one in got(library, "runs")["runs"]] == ["small", "other"]


def test_a_layer_that_is_recorded_beside_ledgers_alone(tmp_path, small):
    run, _, _ = recorded(tmp_path / "few", layers=["conv"], kernels_every=100, ledger_every=4)
    library = Library([run.folder])
    _, arrays = got(library, "runs/few/weights", layer="answer", step=STEP)
    assert np.array_equal(arrays["kernel"], run.model(STEP).get_layer("answer").kernel.numpy())
    header, arrays = got(library, "runs/few/batch", layer="answer", step=STEP)
    assert header["sources"]["dz"] == "replay" and arrays["dz"].shape == (8, 3)
    header, _ = got(library, "runs/few/weights", layer="answer", step=5)
    assert header["missing"]["kernel"]["nearest"] in (4, 6)


def test_what_is_not_there_is_said(tmp_path, ask, small):
    assert ask("ledger", layer="conv", step=5, index="0,0,0,0")["missing"]["nearest"] in (4, 6)
    assert ask("batch", layer="conv", step=5)[0]["missing"]["*"]["after"] == 6
    assert ask("film", layer="conv", steps="0,99")[0]["missing"]["*"]["nearest"] == 6
    run, _, _ = recorded(tmp_path / "bare", ledger_every=0, maps_every=0, layers=["answer"], probe_images=0)
    bare = Library([run.folder])
    assert "not recorded" in got(bare, "runs/bare/film", layer="conv")[0]["missing"]["*"]["why"]
    assert "no probe images" in got(bare, "runs/bare/probe", layer="conv", step=3)[0]["missing"]["*"]["why"]


@pytest.mark.parametrize(
    "path, params, status, words",
    [
        ("nothing", {}, 404, "Unknown address"),
        ("runs/other", {}, 404, "Unknown run"),
        ("runs/small/weights", {"layer": "conv", "step": "x"}, 400, "whole number"),
        ("runs/small/weights", {"layer": "conv"}, 400, "step is missing"),
        ("runs/small/weights", {"layer": "none", "step": "1"}, 404, "none"),
        ("runs/small/weights", {"layer": "conv", "step": "1", "colour": "red"}, 400, "no parameter 'colour'"),
        ("runs/small/weights", {"layer": "c" * 5000, "step": "1"}, 400, "longer than"),
        ("runs/small/ledger", {"layer": "conv", "step": "4", "index": "9,9,9,9"}, 400, "9"),
        ("runs/small/batch", {"layer": "conv", "step": "4", "rows": "80"}, 400, "8 images"),
        ("runs/small/batch", {"layer": "conv", "step": "4", "filter": "80"}, 400, "between 0 and 3"),
        ("runs/small/batch", {"layer": "conv", "step": "4", "only": "q"}, 404, "no block 'q'"),
        ("runs/small/film", {"layer": "conv", "count": "100000"}, 400, "between 1 and 400"),
        ("runs/small/network", {"step": "4", "row": "-1"}, 400, "between"),
        ("runs/small/probe", {"layer": "conv", "step": "4", "picture": "p9"}, 400, "once again"),
        ("compare", {"runs": "small"}, 400, "two runs"),
        ("lessons/none", {}, 404, "Unknown lesson"),
        ("lessons/../page-api", {}, 404, "Unknown lesson"),
    ],
)
def test_wrong_questions_get_words(library, path, params, status, words):
    found = answer(library, path, params)
    assert found.status == status
    assert words in json.loads(found.body)["error"]["message"]


def test_answers_hold_no_secret_of_the_machine(library, small):
    for path in [*OF_PAGE, *(f"runs/small/{name}" for name in OF_RUN)]:
        body = answer(library, path, {}).body
        assert str(small[0].folder.parent).encode() not in body, path


def test_a_run_that_grows_breaks_and_is_replaced(tmp_path):
    run, _, _ = recorded(tmp_path / "run")
    library = Library([run.folder])
    page_run = library.of("run")
    assert got(library, "runs/run")["last_step"] == 6
    before = page_run.identity
    manifest = run.folder / "manifest.json"
    content = manifest.read_bytes()
    manifest.write_bytes(content[:50])
    page_run._looked = 0.0
    assert answer(library, "runs/run").status == 422
    assert got(library, "runs")["runs"][0]["status"] == "broken"
    manifest.write_bytes(content)
    page_run._looked = 0.0
    assert got(library, "runs/run")["last_step"] == 6
    recorded(tmp_path / "run", epochs=1, overwrite=True)
    page_run._looked = 0.0
    assert got(library, "runs/run")["last_step"] == 3 and page_run.identity != before
    import shutil

    shutil.rmtree(run.folder)
    page_run._looked = 0.0
    assert answer(library, "runs/run").status == 400 and "problem" in got(library, "runs")["runs"][0]


def test_a_damaged_record_is_an_error_and_the_others_are_sound(tmp_path):
    run, _, _ = recorded(tmp_path / "run", full_layers=())
    reader = run._segments[0].streams["ledger"]
    place = reader.layout.record_bytes * int(reader.number_of(STEP)) + 200
    with reader.path.open("r+b") as file:
        file.seek(place)
        file.write(b"\xff" * 8)
    library = Library([run.folder])
    found = answer(library, "runs/run/batch", {"layer": "conv", "step": str(STEP)})
    assert found.status == 422 and "damaged" in json.loads(found.body)["error"]["message"]
    assert answer(library, "runs/run/batch", {"layer": "conv", "step": "2"}).status == 200
    assert got(library, "runs/run")["problems"]


def test_names_with_html_in_them_stay_text(tmp_path):
    from kernelearn import Sequential, layers

    from .runs import pictures

    name = "<img src=x onerror=alert(1)>"
    images, labels = pictures((6, 6, 1))
    model = Sequential(
        [layers.Input((6, 6, 1)), layers.Conv2D(2, 3, name=name), layers.Flatten(), layers.Dense(3, name="a")]
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    folder = tmp_path / "<b>run"
    model.fit(images, labels, batch_size=8, verbose=0, callbacks=[Recorder(folder, ledger_every=1)])
    library = Library([folder])
    key = next(iter(library.runs))
    assert key == "b-run" and got(library, f"runs/{key}")["name"] == "<b>run"
    header, arrays = got(library, f"runs/{key}/weights", layer=name, step=1)
    assert header["layer"] == name and arrays["kernel"].shape == (3, 3, 1, 2)


def test_what_is_kept_is_bounded(library):
    page_run = library.of("small")
    for number in range(200):
        page_run.keep(("one", number), lambda: {"a": np.zeros(10)})
    assert len(page_run._kept) <= 64
    for number in range(6):
        page_run.keep(("large", number), lambda: [np.zeros(2**23)])
    assert len(page_run._kept) == 4
    assert page_run.keep(("large", 5), lambda: None) is not None


def test_a_training_about_to_begin_is_waited_for(tmp_path):
    library = Library([tmp_path / "run"], may_be_missing=True)
    assert got(library, "runs")["runs"][0]["status"] == "waiting"
    recorded(tmp_path / "run", epochs=1)
    assert got(library, "runs")["runs"][0]["status"] == "finished"
    from kernelearn.errors import ArgumentError

    with pytest.raises(ArgumentError):
        Library([tmp_path / "nothing"])
    with pytest.raises(ArgumentError, match="at least one run"):
        Library([])
