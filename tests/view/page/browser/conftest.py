"""One browser and one server for the tests of the page; a page that fails its test if a script fails."""

import os
from pathlib import Path

import pytest

from kernelearn import Sequential, layers
from kernelearn.recording import Recorder, Run
from kernelearn.utils import set_random_seed
from kernelearn.view.page.library import Library

from ..runs import answer, pictures
from .reader import Reader

SCREEN = {"viewport": {"width": 1280, "height": 720}}


def serve(folders, **options):
    """A server over runs, started."""
    from kernelearn.view.page.serving import PageServer

    server = PageServer(Library(folders), **options)
    server.start()
    return server


@pytest.fixture(scope="session")
def two_layers(tmp_path_factory):
    """(Run, images, classes): convolution, pool, convolution, dense; a ledger at every second step."""
    return deep(tmp_path_factory.mktemp("page") / "deep")


def deep(folder, epochs=4, callbacks=(), images=None, **options):
    """Record a network of two convolutions: conv1, pool, conv2, answer."""
    set_random_seed(0)
    shown, classes = pictures((8, 8, 1)) if images is None else images
    model = Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(5, 3, padding="same", activation="relu", name="conv1"),
            layers.MaxPooling2D(2, name="pool1"),
            layers.Conv2D(4, 2, activation="relu", name="conv2"),
            layers.Flatten(name="flat"),
            answer(),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    wanted = {
        "kernels_every": 1,
        "ledger_every": 2,
        "gradients_every": 1,
        "probe_images": shown[:4],
        **options,
    }
    model.fit(
        shown,
        classes,
        batch_size=8,
        epochs=epochs,
        seed=0,
        verbose=0,
        callbacks=callbacks or [Recorder(folder, **wanted)],
    )
    return Run(folder), shown, classes


@pytest.fixture(scope="session")
def site(two_layers):
    server = serve([two_layers[0].folder])
    yield server
    server.stop()


@pytest.fixture(scope="session")
def kept_reader(browser, site):
    context = browser.new_context(**SCREEN)
    yield Reader(context, site)
    context.close()


@pytest.fixture
def reader(kept_reader):
    """A reader of the page over the run of two layers: a window for each test would cost as much again."""
    yield kept_reader.renew()
    assert not kept_reader.problems, kept_reader.problems


def reading(browser, server, **options):
    """A Reader of its own, whose page must have had no error at the end."""
    context = browser.new_context(**{**SCREEN, **options})
    found = Reader(context, server)
    yield found
    problems = list(found.problems)
    context.close()
    assert not problems, problems


@pytest.fixture(scope="session")
def pictures_to_keep():
    """Folder for screenshots, if they are wanted: KERNELEARN_SCREENSHOTS names it."""
    name = os.environ.get("KERNELEARN_SCREENSHOTS")
    return None if not name else Path(name)
