"""A kind of file of "another program", for tests of everything that takes foreign files: our own, disguised.

It holds structure and weights and, like most files of others, no metadata and nothing about training. Entered
into the table of kinds by the fixture `fake_format`.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

import kernelearn
from kernelearn.errors import FormatError
from kernelearn.formats import model_files

START = b"FAKEMODL"
KIND = model_files.ModelFormat("Fake", (".fake",), __name__, lambda start, members: start.startswith(START))
WEIGHTS = replace(KIND, title="Fake weights", endings=(".fakeweights",), weights_only=True)


def enter(monkeypatch):
    """Enter both kinds into the table."""
    monkeypatch.setattr(model_files, "FORMATS", (*model_files.FORMATS, KIND, WEIGHTS))


def save_model(model, path):
    """Structure and weights."""
    twin = model.clone()
    twin.metadata = {}
    with tempfile.TemporaryDirectory() as folder:
        own = Path(folder) / "model.kernelearn"
        twin.save(own)
        Path(path).write_bytes(START + own.read_bytes())


def load_model(path, custom_objects=None, compile=True):
    """What `save_model` wrote."""
    with tempfile.TemporaryDirectory() as folder:
        own = Path(folder) / "model.kernelearn"
        own.write_bytes(Path(path).read_bytes().removeprefix(START))
        try:
            return kernelearn.load_model(own, custom_objects, compile)
        except FormatError as error:
            raise FormatError(f"{str(path)!r} is damaged: {error}") from error


def save_weights(model, path):
    """The same file: its structure is not read."""
    save_model(model, path)


def load_weights(model, path, by_name=False, skip_mismatch=False, by_position=False):
    """Weights by name, or by position."""
    found = load_model(path)
    own, theirs = model.weight_paths(), found.weight_paths()
    if not by_position and set(own) != set(theirs):
        raise FormatError(f"{str(path)!r} has other names: {sorted(theirs)}; give by_position=True.")
    pairs = zip(own.values(), theirs.values()) if by_position else ((own[n], theirs[n]) for n in own)
    for weight, other in pairs:
        weight.assign(other.numpy())
    return list(own)
