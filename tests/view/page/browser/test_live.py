"""A training that is watched and steered from the page: paused, stepped, changed by hand, resumed."""

import threading
import time

import numpy as np
import pytest

from kernelearn.recording import Run
from kernelearn.view.page.microscope import Microscope

from .conftest import deep, reading, serve


class Training:
    """One that waits for the page before its first step."""

    def __init__(self, folder, epochs=6):
        self.folder = folder
        watching = Microscope(
            folder,
            control=True,
            start_paused=True,
            serve=False,
            kernels_every=1,
            ledger_every=1,
            gradients_every=1,
        )
        self.thread = threading.Thread(target=deep, args=(folder, epochs, [watching]), daemon=True)
        self.thread.start()
        until(lambda: (folder / "manifest.json").exists() or (folder / "record" / "manifest.json").exists())

    @property
    def run(self):
        return Run(self.folder)


def until(is_so, seconds=120):
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


@pytest.fixture
def training(tmp_path):
    found = Training(tmp_path / "live")
    yield found
    if found.thread.is_alive():
        from kernelearn.recording.control import send

        send(found.run.folder, {"do": "resume"})
        found.thread.join(60)


@pytest.fixture
def live(browser, training):
    server = serve([training.folder], can_control=True)
    yield from reading(browser, server)
    server.stop()


def wait_step(reader, step):
    reader.page.wait_for_selector(f".app[data-step='{step}']")
    reader.settle()


def test_pause_step_change_and_resume(live, training):
    reader = live
    reader.open("")
    reader.page.wait_for_selector("#live button:has-text('Resume')")
    assert "training" in reader.text("#facts")
    assert reader.text("#now").startswith("step 0")
    reader.page.click("#live button:has-text('One step')")
    wait_step(reader, 1)
    reader.page.click("#live button:has-text('One step')")
    wait_step(reader, 2)

    reader.page.evaluate("microscope.choose({layer: 'conv1', kernel: 1, weight: [0, 2]})")
    reader.settle()
    edit(reader)
    rate(reader)
    freeze(reader)
    reader.page.click("#live button:has-text('One step')")
    wait_step(reader, 3)
    reader.page.wait_for_timeout(300)
    kinds = [event["kind"] for event in training.run.events]
    assert {"edited", "learning rate", "frozen"} <= set(kinds)
    assert "by hand" in reader.text(".why").lower()
    run = training.run
    np.testing.assert_allclose(run.kernels("conv1", 3)[0, 2, 0, 1], 0.75, atol=0.05)
    assert reader.page.locator("#plot .event").get_attribute("d").startswith("M")

    reader.page.click("#live button:has-text('Resume')")
    training.thread.join(60)
    wait_step(reader, 18)
    reader.page.wait_for_selector("#facts:has-text('finished')")
    assert np.array_equal(run.kernels("conv1", 3), training.run.kernels("conv1", 18))


def row(reader, words):
    """The button and the field of a line of the dialog."""
    reader.page.click("#live button:has-text('Change')")
    place = reader.page.locator(".form > span", has_text=words).first
    return place.locator("xpath=following-sibling::*[1]"), place.locator("xpath=following-sibling::*[2]")


def done(reader):
    reader.page.wait_for_selector("dialog [role=status]:has-text('next step')")
    reader.page.keyboard.press("Escape")


def edit(reader):
    field, button = row(reader, "W[0,2] of kernel 1")
    field.fill("0.75")
    button.click()
    done(reader)


def rate(reader):
    field, button = row(reader, "learning rate")
    field.fill("0.02")
    button.click()
    done(reader)


def freeze(reader):
    _, button = row(reader, "conv1 is trained")
    button.click()
    done(reader)


def test_the_page_follows_until_the_reader_goes_elsewhere(live, training):
    reader = live
    reader.open("")
    reader.page.wait_for_selector("#live button:has-text('One step')")
    reader.page.click("#live button:has-text('One step')")
    wait_step(reader, 1)
    reader.press("Home")
    assert reader.selection()["step"] == 0
    reader.page.click("#live button:has-text('One step')")
    reader.page.wait_for_selector("#now:has-text('of 2')")
    assert reader.selection()["step"] == 0
    reader.page.click("#live button:has-text('Follow')")
    wait_step(reader, 2)
    for problem in [one for one in reader.problems if "409" in one]:
        reader.problems.remove(problem)


def test_what_cannot_be_done_is_said(live, training):
    reader = live
    reader.open("")
    reader.page.wait_for_selector("#live button:has-text('Change')")
    field, button = row(reader, "learning rate")
    for given, told in (("much", "give a number"), ("-1", "rate")):
        field.fill(given)
        button.click()
        reader.page.wait_for_selector(f"dialog [role=status]:has-text('{told}')")
    reader.page.wait_for_selector("dialog [role=status]:not(:has-text('next step'))")
    reader.page.keyboard.press("Escape")
    reader.problems[:] = [one for one in reader.problems if "status of 4" not in one]


def test_without_control_nothing_can_be_steered(reader):
    reader.open("")
    assert not reader.page.locator("#live").is_visible()
    answer = reader.in_page(
        """microscope.data.source.post(`runs/${microscope.run.key}/control`, {do: 'pause'})
        .then(() => 'done', error => error.message)"""
    )
    assert answer != "done"
    reader.problems[:] = [one for one in reader.problems if "status of 4" not in one]
