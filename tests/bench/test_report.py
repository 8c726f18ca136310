"""The command and its tables, pictures and files, with one tiny real run and made-up results."""

import json

import pytest

from kernelearn.bench import report as reports
from kernelearn.bench import suite
from kernelearn.bench.interleave import Rounds
from kernelearn.bench.rivals import OURS, Comparison
from kernelearn.bench.suite import Ceilings, Report, Settings
from kernelearn.cli import main
from kernelearn.cli.bench.command import _show
from kernelearn.errors import ArgumentError, UnknownNameError


@pytest.fixture
def report():
    """A report with every section, its numbers simple."""
    row = Comparison("lenet, batch 32", 2e9, {OURS: [0.01] * 3, "A": [0.03] * 3, "A slow": [0.04] * 3})
    row.groups = {OURS: OURS, "A": "A", "A slow": "A", "B": "B"}
    row.notes = {"B": "not installed"}
    calls = [
        {
            "layer": "c",
            "what": "conv",
            "note": "tile",
            "seconds": 0.003,
            "flops": 3e8,
            "bytes": 3e7,
            "best": 0.0015,
        },
        {
            "layer": "",
            "what": "dropout",
            "note": "no kernel for it",
            "seconds": 0.001,
            "flops": 0.0,
            "bytes": 0,
            "best": 0.0,
        },
    ]
    line = {"start": 0.001, "slope": 0.0005, "fit": 0.99}
    curve = {"what": "a step", "unit": "images", "sizes": [1, 2], "line": line}
    curve.update(seconds=[0.0015, 0.002], low=[0.0014, 0.0019], high=[0.0016, 0.0021])
    memory = {"net": "lenet", "batch": 32, "loaded": 2**20, "peak": 2**22}
    facts = {
        "processor": "P",
        "cores": 2,
        "vectors": "avx2",
        "system": "Linux",
        "date": "today",
        "python": "3",
    }
    return Report(
        facts,
        Settings(),
        Ceilings(4e11, 3e10, 2e10),
        {"kernelearn": "0"},
        {"torch": "absent"},
        ["busy"],
        {
            "training": [row],
            "profile": [
                {
                    "net": "lenet",
                    "what": "train",
                    "batch": 32,
                    "seconds": 0.004,
                    "moved_bytes": 1.8e7,
                    "least_bytes": 1.5e7,
                    "calls": calls,
                }
            ],
            "memory": [{**memory, "framework": OURS}, {**memory, "framework": "torch", "peak": 2**23}],
            "recorder": [
                {"net": "lenet", "batch": 32, "step": 0.01, "recorder": 1e-4, "share": 0.01, "bytes": 500}
            ],
            "curves": [curve],
        },
    )


def test_tables_say_what_was_measured(report):
    ratios, times, profile, memory, recorder, curve = reports.tables(report)
    assert ratios.rows == [["lenet, batch 32", "10", "200.0", "50", "30", "3.00 [3.00, 3.00]"]]
    assert ratios.notes == ["B: not installed (lenet, batch 32)"]
    assert times.columns == ["", OURS, "A", "A slow"]
    assert profile.rows[0][:7] == ["c: conv", "3.000", "75.0", "100.0", "25", "10.0", "50"]
    assert profile.rows[1][3:] == [*"----", "no kernel for it"]
    assert profile.notes == [
        "30.0 MB used, 18.0 MB of them from and to memory in a whole step, 15.0 MB at least: 1.20 times"
    ]
    assert memory.rows[1] == ["lenet, batch 32", "torch", "1", "8", "2.00"]
    assert recorder.rows == [["lenet, batch 32", "10", "100", "1.00", "0.5"]]
    assert curve.rows[1] == ["2", "2", "1000.00", "2"]


def test_headline_has_machine_missing_peers_and_warnings(report):
    text = "\n".join(reports.headline(report))
    assert all(word in text for word in ("P, 2 cores", "400 GFLOP/s", "torch (absent)", "warning: busy"))


def test_terminal_and_markdown_have_every_cell(report, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    _show(report, set())
    shown, written = capsys.readouterr().out, reports.markdown(report)
    for table in reports.tables(report):
        cells = [cell for row in table.rows for cell in row]
        assert all(cell in shown for cell in cells) and all(cell in written for cell in cells)


def test_markdown_goes_between_the_marks(report, tmp_path):
    path = tmp_path / "page.md"
    path.write_text(f"before\n{reports.BEGIN}\nold\n{reports.END}\nafter\n")
    reports.write_markdown(report, path)
    reports.write_markdown(report, path)
    text = path.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    assert text.count("### Training: ms a step") == 1


def test_markdown_overwrites_nothing_else(report, tmp_path):
    path = tmp_path / "page.md"
    reports.write_markdown(report, path)
    assert reports.BEGIN in path.read_text()
    path.write_text("my notes")
    with pytest.raises(ArgumentError, match="bench:begin"):
        reports.write_markdown(report, path)
    assert path.read_text() == "my notes"


def test_the_picture_has_a_panel_for_each_part(report):
    pytest.importorskip("matplotlib")
    from kernelearn.bench.figure import plot_report

    figure = plot_report(report)
    ratios, curve = (part.axes[0] for part in figure.subfigs)
    assert [bar.get_x() + bar.get_width() for bar in ratios.patches] == pytest.approx([3.0])
    assert curve.get_xlabel() == "images"
    assert plot_report(Report(report.machine, report.settings)) is None


@pytest.mark.parametrize(
    "wrong", [{"nets": ("lenett",)}, {"against": ("caffe",)}, {"dtype": "float16"}, {"optimizer": "sg"}]
)
def test_settings_are_checked_at_once(wrong):
    with pytest.raises(UnknownNameError):
        Settings(**wrong)


def test_settings_choose_batches_and_frameworks():
    from kernelearn.bench.nets import NETS

    assert Settings().batches_of(NETS["lenet"]) == (32, 64, 128)
    assert Settings(quick=True).batches_of(NETS["lenet"]) == (32,)
    assert Settings(batches=(5,)).batches_of(NETS["lenet"]) == (5,)
    assert Settings(against=("keras",)).frameworks() == ("keras-torch", "keras-jax", "keras-tensorflow")
    assert Settings().plan == Rounds()


QUICK = ("bench", "--quick", "--rounds", "1", "--against", "none", "--threads", "1", "--batch", "2")


@pytest.mark.parametrize(
    "sections",
    [
        ["training", "memory"],
        pytest.param(["training", "inference", "memory", "recorder", "curves"], marks=pytest.mark.slow),
    ],
    ids=len,
)
def test_a_whole_small_run(tmp_path, capsys, monkeypatch, sections):
    pytest.importorskip("matplotlib")
    # The ceilings are measured as ever, on little.
    monkeypatch.setattr(suite, "CEILING_BURSTS", dict.fromkeys(suite.CEILING_BURSTS, 2))
    monkeypatch.setattr(suite, "FMA_TASKS", 16)
    monkeypatch.setattr(suite, "_beyond_caches", lambda: 4)
    names = (*[f"--{section}" for section in sections], "--nets", "lenet")
    files = {
        f"--{kind}": str(tmp_path / f"out.{end}")
        for kind, end in (("json", "json"), ("figure", "png"), ("markdown", "md"))
    }
    words = [word for pair in files.items() for word in pair]
    assert main([*QUICK, *names, *words]) == 0
    out = capsys.readouterr().out
    stored = json.loads((tmp_path / "out.json").read_text())
    assert list(stored["sections"]) == sections
    assert stored["ceilings"]["flops"] > 0 and stored["threads"] == 1
    assert not [w for w in stored["warnings"] if "failed" in w]
    assert len(stored["sections"]["training"][0]["seconds"][OURS]) == 1
    assert stored["sections"]["memory"][0]["peak"] > stored["sections"]["memory"][0]["loaded"]
    assert all(text in out for text in ("measured ceilings", "lenet, batch 2"))
    assert ("R2 =" in out) == ("curves" in sections)
    assert (tmp_path / "out.png").exists() == ("curves" in sections)
    assert "### Training" in (tmp_path / "out.md").read_text()


@pytest.fixture
def known_ceilings(monkeypatch):
    """What the machine can do at best is not measured, which takes seconds."""
    monkeypatch.setattr(suite, "measure_ceilings", lambda bench, before=None: Ceilings(4e11, 3e10, 2e10))


@pytest.mark.parametrize(
    ("asked", "shown", "absent"),
    [
        ((), "Training step of lenet, batch 2", "Prediction"),
        (("--inference",), "Prediction of lenet, batch 2", "Training step"),
    ],
)
def test_layers_of_a_network(asked, shown, absent, capsys, known_ceilings):
    assert main([*QUICK, "--layers", *asked, "lenet"]) == 0
    out = capsys.readouterr().out
    assert shown in out and "conv" in out and "all calls" in out
    assert absent not in out


def test_a_section_that_fails_is_told_and_the_rest_goes_on(monkeypatch, capsys, known_ceilings):
    from kernelearn.bench.sections import conv_layers

    def fail(bench):
        raise RuntimeError("broken")

    monkeypatch.setattr(conv_layers, "run", fail)
    assert main([*QUICK, "--layers", "--recorder", "--nets", "lenet"]) == 0
    shown = capsys.readouterr()
    assert "section layers failed: RuntimeError: broken" in shown.err
    assert "What a Recorder adds" in shown.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--nets", "alexnet"), "alexnet"),
        (("--against", "caffe"), "caffe"),
        (("--batch", "0"), "--batch"),
        (("--json", "/nowhere/there/out.json"), "/nowhere/there/out.json"),
    ],
)
def test_wrong_options_are_told_before_anything_is_measured(words, message, capsys):
    assert main(["bench", *words]) == 1
    shown = capsys.readouterr()
    assert message in shown.err and shown.out == ""
