"""The section "input": which networks it takes, the files that it makes, and which passes read them."""

import numpy as np
import pytest

from kernelearn.bench.nets import FAMILIES, NETS, find_net
from kernelearn.bench.report import Ceilings, Report, tables
from kernelearn.bench.sections import reading
from kernelearn.bench.suite import Settings
from kernelearn.data import load


def test_networks_of_pictures_take_part():
    taken = {name for name, net in {**NETS, **FAMILIES}.items() if reading._takes_pictures(net)}
    assert {"resnet20", "mobile"} <= taken
    assert not taken & {"lenet", "signals", "volumes", "perceptron"}


def test_the_files_are_pictures_of_every_class(tmp_path):
    size = reading.write_pictures(tmp_path, (24, 40), 20)
    files = list(tmp_path.rglob("*.jpg"))
    assert len(files) == 20 and size == np.mean([file.stat().st_size for file in files])
    data = load(tmp_path, test=False, resize=(12, 20), cache_bytes=0)
    assert data.input_shape == (12, 20, 3) and data.classes == 10
    images = next(data.train.batches(20))[0]
    assert images.std() > 0.1
    assert not np.array_equal(images[0], images[1])


def test_each_pass_goes_over_all_the_files(tmp_path, monkeypatch):
    from kernelearn.data.stores import PictureStore

    reading.write_pictures(tmp_path, (40, 40), 20)
    passes = reading._passes(tmp_path, find_net("vgg_small"), 10, Settings())
    read: list[int] = []
    plain = PictureStore.read_into

    def noted(self, out, rows):
        read.extend(rows.tolist())
        plain(self, out, rows)

    monkeypatch.setattr(PictureStore, "read_into", noted)
    for name, every in (("decode", True), ("step", False), ("together", True)):
        read.clear()
        passes[name]()
        # A training looks at a picture before its first step.
        assert set(read) == (set(range(20)) if every else set()), name


@pytest.mark.parametrize("together, share", [(90.0, "90"), (50.0, "50")])
def test_the_table_gives_the_share_of_training_from_memory(together, share):
    row = {"net": "mobile", "batch": 32, "side": [256, 256], "bytes": 30_000.0}
    rates = {"decode": 1000.0, "step": 100.0, "together": together}
    report = Report(ceilings=Ceilings(), sections={"input": [{**row, **rates}]})
    (table,) = tables(report)
    assert table.rows == [["mobile, batch 32", "256 x 256", "30.0", "1,000", "100", f"{together:.0f}", share]]
