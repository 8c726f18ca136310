"""Networks with own layers on the command line: told before training what cannot be saved, and named with
--code where a run is read.
"""

import subprocess
import sys

OWN = """
import kernelearn as kl
from kernelearn import layers, ops


{register}
class Gate(layers.Layer):
    def __init__(self, units, **options):
        super().__init__(**options)
        self.units = units
        self.conv = layers.Conv2D(units, 3, padding="same")
        self.open = layers.Conv2D(units, 1)

    def call(self, x):
        return self.conv(x) * ops.sigmoid(self.open(x))


def build(input_shape, classes):
    stack = [kl.Input(input_shape), Gate(4, name="gate"), layers.GlobalAveragePooling2D()]
    return kl.Sequential([*stack, layers.Dense(classes, activation="softmax")])
"""
WORDS = ("--epochs", "1", "--augment", "none", "--quiet", "--batch-size", "256", "--record")


def kernelearn(*words):
    """The command in a process that knows nothing of other tests."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from kernelearn.cli import main; sys.exit(main())",
            *map(str, words),
        ],
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout, done.stderr


def test_what_cannot_be_saved_is_told_before_the_first_step(run, tmp_path):
    file = tmp_path / "net.py"
    file.write_text(OWN.format(register=""))
    refused = run("train", "digits", "--model", file, *WORDS, "--run", tmp_path / "run")
    assert refused.code == 1 and "Gate is not registered" in refused.err and "saving.register" in refused.err
    assert not (tmp_path / "run" / "run.json").exists()


def test_a_run_with_own_layers_is_read_where_the_code_is_named(run, tmp_path):
    file, folder = tmp_path / "net.py", tmp_path / "run"
    file.write_text(OWN.format(register='@kl.saving.register(package="tests")'))
    trained = run("train", "digits", "--model", file, *WORDS, "--run", folder)
    assert trained.code == 0, trained.err
    unit = ("explain", "unit", folder, "--layer", "gate/conv", "--filter", "2")
    code, _, err = kernelearn(*unit)
    assert code == 1 and "tests>Gate" in err and "kernelearn --code FILE.py" in err
    code, out, err = kernelearn("--code", file, *unit)
    assert code == 0, err
    assert "One number of gate/conv" in out
