"""A short part of `make fuzz`, the same damage each time."""

import pytest

from tests.fuzz.kinds import make_kinds
from tests.fuzz.model_kinds import HAS_TORCH
from tests.fuzz.outcomes import faults, outcome_of

MUTATIONS, MORE = 15, 40


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    return {kind.name: kind for kind in make_kinds(tmp_path_factory.mktemp("fuzz"))}


NAMES = (
    "npz", "npz, deflated", "npy", "zip of pictures", "tar", "tar.gz", "CIFAR", "IDX", "IDX, gzipped",
    "PNG", "PNG, palette", "PNG, 16 bits", "JPEG", "BMP", "GIF", "WebP", "WebP, lossless",
    "TIFF", "TIFF, LZW", "TIFF, 16 bits", "PPM", "PGM, 16 bits", "PGM, text",
    "model", "safetensors", "checkpoint", "manifest", "events", "segment", "run.json",
    ".keras", ".h5", ".weights.h5", "ONNX", "ONNX, outside", "ONNX, data",
    *((".pt2", ".pt") if HAS_TORCH else ()),
)  # fmt: skip


def test_every_kind_is_tried(kinds):
    assert set(NAMES) == set(kinds)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NAMES)
def test_damage_is_refused_or_harmless(kinds, name):
    check(kinds[name], range(MUTATIONS))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NAMES)
def test_more_damage_is_refused_or_harmless(kinds, name):
    check(kinds[name], range(MUTATIONS, MORE))


def check(kind, numbers):
    kind.path.write_bytes(kind.good)
    expected = kind.read()
    for title in kind.damage:
        for number in numbers:
            outcome, shown = outcome_of(kind, title, number, expected)
            assert outcome not in faults(kind, title), f"{title} {number}: {outcome} {shown}"
    kind.path.write_bytes(kind.good)
