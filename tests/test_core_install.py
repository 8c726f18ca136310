"""What the four packages of the core install can do alone: nothing here may want an extra."""

import subprocess
import sys
import textwrap

import pytest

from tests.sweeps import some

EXTRAS = ("sklearn", "PIL", "matplotlib", "scipy", "cvxpy", "pandas", "h5py", "safetensors")


def without_extras(code: str, folder) -> str:
    """What a program prints in a fresh interpreter in which the extras cannot be imported."""
    hidden = f"import sys\nsys.modules.update(dict.fromkeys({EXTRAS!r}))\n"
    done = subprocess.run(
        [sys.executable, "-c", hidden + textwrap.dedent(code)], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_star_import_gives_every_name_that_works(tmp_path):
    names = without_extras("from kernelearn import *\nprint(*sorted(globals()))", tmp_path).split()
    assert {"Sequential", "Model", "layers", "data", "explain", "set_random_seed"} <= set(names)
    assert {"CNNClassifier", "learn", "kernel_machines"}.isdisjoint(names)


def test_star_import_gives_the_estimators_where_scikit_learn_is():
    names = {}
    exec("from kernelearn import *", names)
    assert {"CNNClassifier", "CNNRegressor", "learn", "kernel_machines"} <= set(names)


def test_the_digits_travel_with_the_package(tmp_path):
    sizes = """
    from kernelearn.data import load
    d = load("digits")
    print(len(d.train), len(d.test), d.input_shape)
    """
    assert without_extras(sizes, tmp_path) == "1438 359 (8, 8, 1)\n"


def test_the_digits_are_those_of_scikit_learn():
    from kernelearn.data import load

    datasets = pytest.importorskip("sklearn.datasets")
    bunch, ours = datasets.load_digits(), load("digits", test=False, shuffle_split=False).train
    x, y = ours.arrays()
    assert (x[..., 0] * 16 == bunch.images).all()
    assert (y == bunch.target).all()


# The other one records, as the test below does.
@pytest.mark.parametrize("options", some(["'--epochs', '1'", "'--epochs', '1', '--record'"], quick=1))
def test_the_command_line_trains(tmp_path, options):
    program = f"""
    from kernelearn.cli import main
    main(["train", "digits", "--run", "run", {options}])
    """
    printed = without_extras(program, tmp_path)
    assert "Test accuracy" in printed
    assert (tmp_path / "run" / "model.kernelearn").is_file()


def test_a_recorded_run_is_explained(tmp_path):
    program = """
    from kernelearn.cli import main
    for command in (
        ["train", "digits", "--epochs", "1", "--record", "--record-ledger", "20", "--run", "run", "-q"],
        ["explain", "ledger", "run"],
        ["report", "run"],
    ):
        try:
            main(command)
        except SystemExit as end:
            assert not end.code, command
    """
    assert "residual" in without_extras(program, tmp_path)
    assert (tmp_path / "run" / "report.html").is_file()
