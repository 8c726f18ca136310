"""evaluate, predict, summary, data, kernels, doctor: what they print, as text and as JSON."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("PIL")
from PIL import Image

PNG = b"\x89PNG\r\n\x1a\n"
COMMANDS = ("train", "evaluate", "predict", "summary", "data", "kernels", "doctor")


@pytest.fixture
def pictures(tmp_path):
    """Two digits as PNG files, as the network was trained on them."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    paths = [tmp_path / f"{i}.png" for i in range(2)]
    for path, image in zip(paths, bunch.images):
        Image.fromarray(np.round(image * 255 / 16).astype(np.uint8)).save(path)
    return paths


def test_help_lists_the_commands_with_examples(run):
    assert all(name in run("--help").out for name in COMMANDS)
    for name in COMMANDS[:-2]:
        assert f"kernelearn {name}" in run(name, "--help").out


def test_version(run):
    from kernelearn import __version__

    assert run("--version").out.strip() == f"kernelearn {__version__}"


@pytest.mark.parametrize(
    "words",
    [
        ("report", "{}"),
        ("view", "{}"),
        ("view", "{}", "--export", "page.html"),
        ("summary", "{}"),
        ("network", "{}"),
        ("data", "{}"),
        ("kernels", "show", "{}"),
        ("evaluate", "{}", "digits"),
        ("predict", "{}", "{}"),
        ("convert", "{}", "out.kernelearn"),
        ("export", "{}", "--standalone", "out"),
        ("train", "{}", "--run", "run"),
        ("train", "digits", "--run", "{}"),
        ("finetune", "{}", "digits", "--run", "run"),
        ("runs", "show", "{}"),
        ("runs", "compare", "{}", "{}"),
        ("runs", "prune", "{}", "--kernels", "2"),
        ("runs", "export", "{}", "-o", "out.npz"),
        ("explain", "ledger", "{}"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("place", ["circle", "circle/inside", "broken", "a" * 300])
def test_a_place_that_leads_nowhere_is_one_message(run, tmp_path, monkeypatch, words, place):
    """Links in a circle, links to nothing, names that no disk takes: never a trace of Python's."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "broken").symlink_to("nothing/there")
    result = run(*[word.format(place) for word in words])
    assert result.code == 1 and "Error: " in result.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken", "circle"]


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from kernelearn.cli import main; main(['--help']);"
        "heavy = {'numpy', 'sklearn', 'matplotlib', 'llvmlite'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_evaluate_agrees_with_the_training(run, finished):
    manifest = json.loads((finished / "run.json").read_text())
    report = run("evaluate", finished, "--json").json
    assert report["metrics"]["accuracy"] == pytest.approx(manifest["results"]["test"]["accuracy"], abs=1e-6)
    matrix = np.array(report["classes"]["confusion_matrix"])
    assert matrix.sum() == report["examples"] == 359
    assert matrix.trace() / 359 == pytest.approx(report["metrics"]["accuracy"], abs=1e-6)
    np.testing.assert_allclose(matrix.diagonal() / matrix.sum(axis=1), report["classes"]["recall"])


def test_evaluate_other_parts_and_as_text(run, finished):
    assert run("evaluate", finished, "--part", "validation", "--json").json["examples"] == 144
    assert "Accuracy" in run("evaluate", finished).out
    assert run("evaluate", finished, "--part", "nope").code == 1


def test_evaluate_new_data(run, finished, tmp_path):
    report = run("evaluate", finished / "model.kernelearn", "digits", "--json")
    assert report.json["examples"] == 1797
    np.savez(tmp_path / "d.npz", x=np.zeros((20, 9, 9, 1)), y=np.arange(20) % 10)
    refused = run("evaluate", finished, tmp_path / "d.npz")
    assert refused.code == 1
    assert "expects (8, 8, 1)" in refused.err
    assert "name the data" in run("evaluate", finished / "model.kernelearn").err


def test_predict_gives_probabilities(run, finished, pictures):
    results = run("predict", finished, *pictures, "--json").json
    assert [one["image"] for one in results] == [str(path) for path in pictures]
    for one in results:
        assert sum(one["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert one["probability"] == max(one["probabilities"].values())
        assert one["top"][0]["class"] == one["class"]
    assert [one["class"] for one in results] == ["0", "1"]
    assert "%" in run("predict", finished, pictures[0], "--top", "1").out


def test_predict_another_size(run, finished, tmp_path):
    Image.new("L", (20, 30)).save(tmp_path / "big.png")
    refused = run("predict", finished, tmp_path / "big.png")
    assert refused.code == 1
    assert "--resize" in refused.err
    assert run("predict", finished, tmp_path / "big.png", "--resize").code == 0


def test_predict_names_a_broken_picture(run, finished, tmp_path):
    (tmp_path / "bad.png").write_bytes(PNG + b"nothing")
    result = run("predict", finished, tmp_path / "bad.png")
    assert result.code == 1
    assert "bad.png" in result.err


def test_summary_of_runs_names_and_files(run, finished):
    assert "Total params: 53,002" in run("summary", finished).out
    assert run("summary", finished / "model.kernelearn", "--json").json["params"]["total"] == 53_002
    assert run("summary", "resnet20", "--json").json["params"]["trainable"] == 272_474
    assert "(None, 26, 26, 32)" in run("summary", "lenet", "--input-shape", "28x28x1").out
    assert run("summary", "lenet", "--input-shape", "28").code == 1
    assert run("summary", "nothing-there").code == 1


def test_data_is_described_and_drawn(run, tmp_path):
    result = run("data", "digits", "--json", "--plot", tmp_path / "d.png")
    assert result.json["counts"] == {"train": 1438, "test": 359}
    assert (tmp_path / "d.png").read_bytes().startswith(PNG)
    assert "Std per channel" in run("data", "digits").out
    assert run("data", tmp_path / "none").code == 1


def test_kernels_with_and_without_the_word_show(run, finished, tmp_path):
    target = tmp_path / "k.png"
    for words in (("show",), ()):
        result = run("kernels", *words, finished, "-o", target, "--json")
        assert result.json["layer"] == "conv1"
        assert result.json["layers"]["conv2"] == [3, 3, 32, 64]
        assert target.read_bytes().startswith(PNG)
        target.unlink()
    assert run("kernels", "--layer", "conv2", finished, "-o", target).code == 0
    assert "conv1, conv2" in run("kernels", finished, "--layer", "nope").err


def test_kernels_of_a_model_file_lie_beside_it(run, finished):
    result = run("kernels", finished / "model.kernelearn", "--layer", "dense", "--json")
    assert result.json["picture"] == str(finished / "dense-kernels.png")
    (finished / "dense-kernels.png").unlink()


def test_kernels_fit_is_the_other_command(run, tmp_path):
    assert "Learn a kernel" in run("kernels", "fit", "--help").out
    assert run("kernels", "fit", tmp_path / "none.csv").code == 1


def test_doctor_finds_this_installation_in_order(run):
    result = run("doctor", "--json")
    assert result.code == 0
    assert result.json["training step"] == "ok"
    assert result.json["required"]["numpy"] == np.__version__
    assert "training step" in run("doctor").out
    engine = result.json["compiled engine"]
    assert engine["compiling"] == "ok"
    assert engine["threads"] >= 1
    assert "float32 numbers" in engine["vector width"]
    assert re.match(r"\d+ GFLOP/s, \d+ GB/s within caches, \d+ GB/s within \d+ MiB", engine["peaks"])


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("KERNELEARN_CPU_TARGET", "avx51", "Unknown CPU target 'avx51'"),
        ("KERNELEARN_NUM_THREADS", "many", "KERNELEARN_NUM_THREADS must be"),
    ],
)
def test_doctor_tells_of_a_wrong_setting(run, monkeypatch, name, value, says):
    monkeypatch.setenv(name, value)
    result = run("doctor", "--json")
    assert result.code == 1
    assert says in result.json["compiled engine"]["setting"]
    assert says in result.json["compiled engine"]["compiling"]
    assert says in result.json["training step"]


def test_doctor_tells_where_kernels_are_kept(run, monkeypatch, tmp_path):
    monkeypatch.setenv("KERNELEARN_CACHE_DIR", str(tmp_path))
    engine = run("doctor", "--json").json["compiled engine"]
    assert engine["cache folder"].startswith(str(tmp_path))
    assert engine["cache"].startswith("ok, ")
    monkeypatch.setenv("KERNELEARN_CACHE_DIR", "off")
    assert run("doctor", "--json").json["compiled engine"]["cache"].startswith("off")


def test_summary_shows_the_kernels_of_each_layer(run):
    result = run("summary", "lenet", "--input-shape", "28x28x1", "--engine")
    assert result.code == 0
    assert "Engine: cpu, prediction" in result.out
    assert "max_pool" in result.out


@pytest.mark.parametrize("command", ["evaluate", "summary", "kernels"])
def test_what_is_no_run_or_model(run, tmp_path, command):
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.kernelearn").write_text("no zip")
    for place, says in (("empty", "run.json"), ("x.kernelearn", "not a kernelearn file"), ("gone", "gone")):
        result = run(command, tmp_path / place)
        assert result.code == 1
        assert says in result.err
        assert result.err.count("\n") < 3


def test_a_network_is_drawn(run, finished, tmp_path):
    for words in (("lenet", "--input-shape", "12x12x1"), (finished,)):
        result = run("network", *words, "--figure", tmp_path / "network.svg")
        assert result.code == 0, result.err
        assert "conv1" in (tmp_path / "network.svg").read_text()
    assert run("network", "lenet", "--neurons", "--figure", tmp_path / "no.svg").code == 1
    assert not (tmp_path / "no.svg").exists()
