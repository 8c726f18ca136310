"""What is read from a run is what was written, or nothing: killed writers, cut, flipped and foreign files."""

import json
import os
import random
import shutil
import signal
import threading
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from kernelearn.errors import ArgumentError, FormatError, ShapeError, StorageError
from kernelearn.recording import Run, RunWriter
from kernelearn.recording.files.events import read_events
from kernelearn.recording.files.layout import Field, Layout
from kernelearn.recording.files.streams import StreamReader, StreamWriter
from kernelearn.recording.files.writer import EVENTS
from tests import sweeps

from .helpers import LAYOUTS, assert_is_prefix, kernel_of, record, write_run, write_step

KILLS = 60


@pytest.fixture
def quiet():
    """Damage is warned of; here it is made on purpose."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


class Writer:
    """A process that writes steps into a run for ever; `told` are those it says are there."""

    def __init__(self, folder):
        reading, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(reading)
            write_for_ever(folder, writing)
        os.close(writing)
        self._pipe = os.fdopen(reading, "rb")
        self.began_behind = int(self._pipe.readline())

    def kill(self, behind):
        """Kill it a moment after it told so many steps; all steps that it told."""
        told = [int(self._pipe.readline()) for _ in range(behind)]
        os.kill(self.pid, signal.SIGKILL)
        told += [int(line) for line in self._pipe.read().split(b"\n")[:-1]]
        self._pipe.close()
        os.waitpid(self.pid, 0)
        return told


def write_for_ever(folder, pipe):
    try:
        is_new = not (folder / "manifest.json").exists()
        writer = RunWriter.create(folder, {}) if is_new else RunWriter.reopen(folder)
        if not writer.content["segments"]:
            writer.begin_segment(0, LAYOUTS)
        step = -1 if writer.last_step is None else writer.last_step
        os.write(pipe, b"%d\n" % step)
        while True:
            step += 1
            write_step(writer, step)
            if step % 16 == 0:
                writer.event("epoch", step, logs={"val_loss": 1.0})
            os.write(pipe, b"%d\n" % step)
    finally:
        os._exit(1)


@pytest.mark.parametrize("kills", sweeps.some([8, KILLS], quick=[8]))
def test_killed_at_random_moments_nothing_but_the_last_record_is_lost(tmp_path, kills):
    """The same run is killed and gone on with: all that was told as written is there each time."""
    moments, before = random.Random(0), -1
    for _ in range(kills):
        writer = Writer(tmp_path)
        assert writer.began_behind == before
        told = writer.kill(behind=moments.randrange(40))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            run = Run(tmp_path)
        assert run.problems == [] and run.status == "stopped"
        assert not told or run.last_step >= told[-1]
        assert len(run.steps) == run.last_step + 1
        for step in range(max(before, 0), run.last_step + 1):
            assert np.array_equal(run.kernels("conv", step), kernel_of(step))
            assert run.batch(step).images.tolist() == [step + i for i in range(step % 4 + 1)]
        before = run.last_step
    assert before > kills
    assert assert_is_prefix(Run(tmp_path), before + 1) == before + 1


# Bytes between two places of damage.
STRIDES = sweeps.some([1, 5], quick=[5])


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("name", ["kernels-1.bin", "steps-1.bin", EVENTS, "manifest.json"])
def test_cut_at_every_byte(tmp_path, name, stride, quiet):
    """A file that ends anywhere gives the steps before, or says what is wrong."""
    whole = write_run(tmp_path / "whole", steps=4)
    content, counts = (whole / name).read_bytes(), set()
    for length in range(len(content) - 1, -1, -stride):
        (whole / name).write_bytes(content[:length])
        try:
            counts.add(assert_is_prefix(Run(whole), 4))
        except FormatError as error:
            assert name == "manifest.json" and "manifest.json" in str(error)
    # NOTE: the last byte of the manifest is its newline, without which it is still whole.
    assert counts == {"kernels-1.bin": {0, 1, 2, 3}, "steps-1.bin": {0, 1, 2, 3}}.get(name, {4})


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("name", ["kernels-1.bin", "steps-1.bin", EVENTS, "manifest.json"])
def test_no_flipped_bit_gives_a_wrong_number(tmp_path, name, stride, quiet):
    whole = write_run(tmp_path / "whole", steps=3)
    content = bytearray((whole / name).read_bytes())
    for place in range(0, len(content), stride):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        (whole / name).write_bytes(flipped)
        assert is_right_or_refused(whole)


def is_right_or_refused(folder):
    """Whether every number that the run gives is the one that was written."""
    try:
        run = Run(folder)
    except FormatError:
        return True
    for step in run.steps.tolist():
        try:
            values = run.kernels("conv", step), run.batch(step).images
        except (FormatError, ArgumentError):
            continue
        expected = kernel_of(step), [step + i for i in range(step % 4 + 1)]
        if not all(np.array_equal(a, b) for a, b in zip(values, expected)):
            return False
    steps, losses = run.scalars("loss")
    return np.array_equal(losses, 1 / (steps + 1)) and set(run.steps) <= {0, 1, 2}


def test_damage_in_the_middle_is_told_and_the_rest_is_kept(tmp_path):
    folder = write_run(tmp_path, steps=5)
    record = LAYOUTS[0].record_bytes
    with open(folder / "kernels-1.bin", "r+b") as file:
        file.seek(2 * record + 80)
        file.write(b"\x01")
    run = Run(folder)
    assert run.problems == [] and len(run.check()) == 1
    with pytest.raises(FormatError, match=r"kernels-1.bin.*record 2 \(step 2\)"):
        run.kernels("conv", 2)
    with pytest.warns(UserWarning, match="1 of 5 records are damaged"):
        steps, values = Run(folder).trace("conv", (0, 0, 0, 1))
    assert steps.tolist() == [0, 1, 3, 4] and values.tolist() == [1, 101, 301, 401]


def test_records_of_another_run_are_not_believed(tmp_path, quiet):
    mine, other = write_run(tmp_path / "mine"), write_run(tmp_path / "other")
    shutil.copy(other / "kernels-1.bin", mine / "kernels-1.bin")
    run = Run(mine)
    assert len(run.steps) == 0 and "5 of 5" in run.problems[0]


def test_folders_that_are_no_runs(tmp_path):
    with pytest.raises(ArgumentError, match="There is no folder"):
        Run(tmp_path / "nowhere")
    with pytest.raises(FormatError, match="not a recorded run"):
        Run(tmp_path)
    (tmp_path / "manifest.json").write_text('{"name": "a web page", "icons": []}')
    with pytest.raises(FormatError, match="does not say so"):
        Run(tmp_path)


def test_a_run_from_a_newer_version(tmp_path):
    folder = write_run(tmp_path)
    content = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**content, "format_version": 2}))
    with pytest.raises(FormatError, match="Install a newer version"):
        Run(folder)


def test_a_run_of_a_version_whose_operators_had_fewer_attributes(tmp_path):
    from kernelearn.recording.files.manifest import read_manifest, write_manifest

    _, whole = record(tmp_path / "run", ledger_every=1, epochs=1)
    rule, part = whole.update_rule("conv", 1), whole.ledger("conv", 1).parts[0]
    content = read_manifest(tmp_path / "run")
    for segment in content["segments"]:
        del segment["updates"]["conv/kernel"]["attrs"]["nesterov"]
        del segment["uses"]["conv/kernel"]["parts"][0]["attrs"]["precision"]
    write_manifest(tmp_path / "run", content)
    run = Run(tmp_path / "run")
    assert run.update_rule("conv", 1) == rule and not rule["attrs"]["nesterov"]
    assert run.ledger("conv", 1).parts[0].attrs == part.attrs and part.attrs["precision"] == "float32"


def test_a_manifest_that_points_elsewhere(tmp_path):
    from kernelearn.recording.files.manifest import read_manifest, write_manifest

    folder = write_run(tmp_path / "run")
    content = read_manifest(folder)
    content["segments"][0]["streams"]["kernels"]["file"] = "../secret.bin"
    write_manifest(folder, content)
    with pytest.raises(FormatError, match="outside of the run"):
        Run(folder)


def test_read_while_it_is_written(tmp_path):
    writer = RunWriter.create(tmp_path, {})
    writer.begin_segment(0, LAYOUTS)
    run, stop, seen = Run(tmp_path), threading.Event(), []

    def write():
        for step in range(400):
            write_step(writer, step)
        stop.set()

    thread = threading.Thread(target=write)
    thread.start()
    while not stop.is_set():
        run.refresh()
        seen.append(len(run.steps))
        for step in run.steps[-2:].tolist():
            assert np.array_equal(run.kernels("conv", step), kernel_of(step))
    thread.join()
    assert run.status == "recording"
    writer.close()
    run.refresh()
    assert seen == sorted(seen) and assert_is_prefix(run, 400) == 400


def test_a_reader_follows_a_run_that_goes_back(tmp_path):
    folder = write_run(tmp_path, steps=6)
    run = Run(folder)
    assert np.array_equal(run.kernels("conv", 5), kernel_of(5))
    with RunWriter.reopen(folder) as writer:
        writer.rewind(2)
        run.refresh()
        assert run.steps.tolist() == [0, 1, 2]
        write_step(writer, 3)
        writer.event("epoch", 3, logs={})
    run.refresh()
    assert assert_is_prefix(run, 4) == 4
    assert [e["kind"] for e in run.events] == ["begun", "epoch"]


def test_only_one_process_writes(tmp_path):
    process = Writer(tmp_path)
    try:
        with pytest.raises(StorageError, match=f"recorded by process {process.pid}"):
            RunWriter.reopen(tmp_path)
        assert Run(tmp_path).status == "recording"
    finally:
        process.kill(behind=1)
    with RunWriter.reopen(tmp_path) as writer:  # the lock of a dead process is no lock
        assert writer.last_step is not None
    first = RunWriter.create(tmp_path / "other", {})
    with pytest.raises(StorageError, match=f"recorded by process {os.getpid()}"):
        RunWriter.reopen(tmp_path / "other")
    first.close()


def test_what_is_not_committed_is_removed(tmp_path):
    with RunWriter.create(tmp_path, {}) as writer:
        writer.begin_segment(0, LAYOUTS)
        write_step(writer, 0)
        writer.write("kernels", 1, {"conv/kernel": kernel_of(1)})
    assert (tmp_path / "kernels-1.bin").stat().st_size == LAYOUTS[0].record_bytes
    with RunWriter.reopen(tmp_path) as writer:
        assert writer.last_step == 0
        write_step(writer, 1)
    assert assert_is_prefix(Run(tmp_path), 2) == 2


def test_a_writer_refuses_what_does_not_fit(tmp_path):
    with RunWriter.create(tmp_path, {}) as writer:
        writer.begin_segment(0, LAYOUTS)
        with pytest.raises(ShapeError, match="room for"):
            writer.write("kernels", 0, {"conv/kernel": np.zeros((5, 5))})
        with pytest.raises(ShapeError, match="room for"):
            writer.write("steps", 0, {"images": np.zeros(9)}, 9)
        with pytest.raises(ArgumentError, match="no field 'bias'"):
            writer.write("kernels", 0, {"bias": 0})
        with pytest.raises(ArgumentError, match="recorded run"):
            writer.close()
            RunWriter.create(tmp_path, {})


def test_an_event_cut_short_is_no_event(tmp_path):
    folder = write_run(tmp_path, steps=3)
    with open(folder / EVENTS, "ab") as file:
        file.write(b'12345678 {"kind": "epo')
    assert [e["kind"] for e in Run(folder).events] == ["begun", "finished"]
    with RunWriter.reopen(folder) as writer:
        writer.event("begun", 2, note=float("nan"))
    events, damaged = read_events(folder / EVENTS)
    assert [e["kind"] for e in events] == ["begun", "finished", "begun"] and damaged == 0
    assert events[-1]["note"] is None


def test_a_layout_reads_what_it_wrote_and_nothing_else():
    layout = LAYOUTS[1]
    assert Layout.from_json(json.loads(json.dumps(layout.to_json()))) == layout
    assert layout.record_bytes % 64 == 0
    with pytest.raises(FormatError, match="contradicts itself"):
        Layout.from_json({**layout.to_json(), "record_bytes": 64})
    with pytest.raises(FormatError, match="unknown way"):
        Layout.from_json({"name": "kernels"})


FIELDS = some.lists(
    some.tuples(
        some.sampled_from(["<f4", "<f8", "<i4", "<i8"]),
        some.lists(some.integers(1, 4), max_size=3).map(tuple),
        some.booleans(),
    ),
    min_size=1,
    max_size=5,
)


@pytest.mark.properties
@settings(max_examples=60, deadline=None)
@given(FIELDS, some.integers(1, 5), some.lists(some.integers(0, 5), min_size=1, max_size=6), some.randoms())
def test_any_arrays_come_back(tmp_path_factory, kinds, capacity, counts, source):
    """Records of any fields, with any numbers of rows, are read as they were written."""
    fields = tuple(
        Field(f"field/{i}", dtype, (None, *shape) if is_by_row else shape)
        for i, (dtype, shape, is_by_row) in enumerate(kinds)
    )
    layout = Layout("any", fields, capacity)
    path = tmp_path_factory.mktemp("records") / "any-1.bin"
    rng, writer, written = np.random.default_rng(source.getrandbits(32)), StreamWriter(path, layout, 7), []
    for step, count in enumerate(min(count, capacity) for count in counts):
        arrays = {f.name: rng.integers(-9, 9, f.sizes(count)).astype(f.dtype) for f in fields}
        writer.fill(arrays, count)
        writer.append(step, count)
        written.append(arrays)
    writer.close()
    reader = StreamReader(path, layout, 7)
    assert reader.steps.tolist() == list(range(len(counts))) and not reader.damaged
    for number, arrays in enumerate(written):
        for name, array in arrays.items():
            found = reader.read(number, name)
            assert found.dtype == array.dtype and np.array_equal(found, array)
