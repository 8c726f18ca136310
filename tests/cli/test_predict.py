"""Pictures of one's own: files, folders, tables of predictions, and explanations of them."""

import csv
import io

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image")


@pytest.fixture
def folder(tmp_path):
    """Five pictures, two of them deeper, and a file that is none."""
    place = tmp_path / "pictures"
    (place / "deep").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("b.png", "a.png", "c.jpg", "deep/d.png", "deep/e.png"):
        Image.fromarray(rng.integers(0, 255, (8, 8), np.uint8)).save(place / name)
    (place / "notes.txt").write_text("none")
    return place


def test_a_folder_stands_for_the_pictures_in_it(run, finished, folder):
    found = run("predict", finished, folder, "--json").json
    assert [one["image"] for one in found] == [
        str(folder / name) for name in ("a.png", "b.png", "c.jpg", "deep/d.png", "deep/e.png")
    ]
    (alone,) = run("predict", finished, folder / "b.png", "--json").json
    assert alone["probabilities"] == pytest.approx(found[1]["probabilities"], abs=1e-6)


def test_predictions_as_a_table(run, finished, folder, tmp_path):
    assert run("predict", finished, folder, "--csv", tmp_path / "p.csv").code == 0
    rows = list(csv.DictReader(io.StringIO((tmp_path / "p.csv").read_text())))
    found = run("predict", finished, folder, "--json").json
    assert [row["class"] for row in rows] == [one["class"] for one in found]
    assert float(rows[2]["7"]) == found[2]["probabilities"]["7"]
    printed = run("predict", finished, folder, "--csv", "-").out
    assert list(csv.DictReader(io.StringIO(printed))) == rows


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("gone.png", "no picture and no folder"),
        ("pictures/notes.txt", "kernelearn evaluate RUN DATA"),
        ("empty", "holds no pictures"),
    ],
)
def test_other_places_are_told(run, finished, folder, tmp_path, place, says):
    (tmp_path / "empty").mkdir()
    result = run("predict", finished, tmp_path / place)
    assert result.code == 1 and says in result.err


def test_saliency_of_a_picture_of_ones_own(run, finished, folder, tmp_path):
    Image.new("L", (20, 30), 200).save(tmp_path / "big.png")
    words = ("--image", folder / "a.png", "--image", tmp_path / "big.png", "--json", "-")
    found = run("explain", "saliency", finished, *words).json
    assert np.shape(found["maps"])[:3] == (2, 8, 8)
    for words in (("maps", "--image", folder), ("saliency", "--image", folder, "--method", "grad_cam")):
        assert run("explain", words[0], finished, *words[1:]).code == 0
    result = run("explain", "saliency", finished, "--image", folder, "--data", "digits")
    assert result.code == 1 and "not both" in result.err
