"""`kernelearn kernels fit`: tables in, weights, scores, figure and JSON out, clear errors."""

import json

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from kernelearn.cli.kernels.fit import fit
from kernelearn.errors import ArgumentError, DataError, UnknownNameError
from kernelearn.kernel_machines.csv_data import read_table
from kernelearn.kernel_machines.kernels.specification import parse_kernels


@pytest.fixture
def run():
    app = typer.Typer()
    app.command()(fit)
    return lambda *arguments: CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "120"})


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((80, 2))
    label = np.where((x**2).sum(axis=1) > 1.4, "out", "in")
    rows = ["a,b,colour,label"]
    rows += [
        f"{p:.4f},{q:.4f},{'red' if i % 2 else 'blue'},{t}" for i, ((p, q), t) in enumerate(zip(x, label))
    ]
    path = tmp_path / "points.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.mark.parametrize("method", ["multiple", "semidefinite", "convex", "convex-hull", "hyperkernel"])
def test_every_method_shows_weights_and_baselines(run, table, method):
    result = run(table, "--method", method, "--C", 10)
    assert result.exit_code == 0, result.output
    assert "80 rows, 4 features, classification of 'label', 20 rows for testing" in result.output
    assert "learnt kernel" in result.output
    assert "fixed kernel" in result.output if method == "hyperkernel" else "uniform average" in result.output


def test_figure_and_json_are_written(run, table, tmp_path):
    pytest.importorskip("matplotlib")
    figure, output = tmp_path / "w.png", tmp_path / "w.json"
    result = run(table, "--kernels", "rbf:1,10 linear", "--plot", figure, "--output", output)
    assert result.exit_code == 0, result.output
    assert figure.read_bytes()[:4] == b"\x89PNG"
    content = json.loads(output.read_text())
    assert list(content["weights"]) == ["rbf(gamma=1)", "rbf(gamma=10)", "linear"]
    assert sum(content["weights"].values()) == pytest.approx(1.0)
    assert content["scores"]["learnt kernel"] > 0.7


def test_signed_weights_are_transductive(run, table):
    result = run(table, "--method", "semidefinite", "--signed", "--kernels", "rbf:1 poly:2 linear")
    assert result.exit_code == 0, result.output


def test_real_targets_are_regressed(run, table):
    result = run(table, "--target", "a", "--method", "convex")
    assert result.exit_code == 0, result.output
    assert "regression of 'a'" in result.output
    assert "R²" in result.output


def test_errors_are_one_line_and_status_1(run, table):
    result = run(table, "--target", "a")
    assert result.exit_code == 1
    assert "real values" in result.output
    assert "Traceback" not in result.output
    assert run(table, "--kernels", "gauss").exit_code == 1
    absent = run(table.with_name("absent.csv"))
    assert absent.exit_code == 1 and "There is no file" in absent.output
    assert run(table, "--test-size", 2).exit_code == 1
    assert run(table, "--task", "rank").exit_code == 1


def test_tables_of_all_kinds_are_read(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("\ufeffx;y;z\n1;2;k\n3;4;l\n")
    read = read_table(path)
    assert (read.names, read.target.tolist(), read.target_name) == (["x", "y"], ["k", "l"], "z")
    path.write_text("1 2 0\n3 4 1\n")
    read = read_table(path, target="0")
    assert (read.names, read.target.tolist()) == (["x1", "x2"], [1.0, 3.0])
    path.write_text("1,?,0\n3,4,1\n5,6,0\n")
    assert read_table(path, drop_missing=True).dropped == 1
    with pytest.raises(DataError, match="1 rows with missing"):
        read_table(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "empty"), ("a\n1\n", "one column"), ("a,b\n1,2\n3\n", "row 3"), ("a,b\n", "no rows")],
)
def test_broken_tables_are_explained(tmp_path, text, message):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_table(path)


def test_text_with_many_values_is_refused(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("name,y\n" + "\n".join(f"n{i},{i % 2}" for i in range(30)))
    with pytest.raises(DataError, match="'name' is text with 30"):
        read_table(path)
    with pytest.raises(ArgumentError, match="No column 'q'"):
        read_table(path, target="q")


def test_targets_are_told_apart(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("x,y\n" + "\n".join(f"{i},{i / 7}" for i in range(10)))
    assert not read_table(path).is_classification
    path.write_text("x,y\n" + "\n".join(f"{i},{i % 3}" for i in range(10)))
    assert read_table(path).is_classification


def test_kernel_words():
    assert len(parse_kernels("rbf poly:2,3 laplacian linear rbf-scaled:1")) == 10
    with pytest.raises(UnknownNameError, match="gauss"):
        parse_kernels("gauss")
    with pytest.raises(ArgumentError, match="commas"):
        parse_kernels("rbf:a")
    with pytest.raises(ArgumentError, match="No kernels"):
        parse_kernels(" ")


@pytest.mark.parametrize("method", ["novelty", "hyperkernel-novelty"])
def test_novelty_is_learnt_from_the_most_frequent_label(run, table, method):
    result = run(table, "--method", method, "--nu", 0.1)
    assert result.exit_code == 0, result.output
    assert "'out' is normal" in result.output or "'in' is normal" in result.output
    assert "Area under the ROC curve" in result.output
    assert (
        "fixed kernel" in result.output if method.startswith("hyper") else "uniform average" in result.output
    )


@pytest.mark.parametrize("loss", ["absolute", "epsilon_insensitive", "interpolation"])
def test_losses_of_regressions_are_chosen(run, table, loss):
    result = run(table, "--target", "a", "--method", "convex-hull", "--loss", loss)
    assert result.exit_code == 0, result.output
    assert "R²" in result.output


def test_hyperkernels_and_formulations_are_chosen(run, table):
    result = run(table, "--method", "hyperkernel", "--hyperkernel", "power", "--formulation", "alignment")
    assert result.exit_code == 0, result.output
    result = run(table, "--method", "hyperkernel", "--formulation", "softest")
    assert result.exit_code == 1
    assert "formulation must be one of" in " ".join(result.output.split())
