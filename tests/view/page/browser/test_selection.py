"""One selection links everything, is the address, and is moved by pointer and keys."""

import pytest

from tests.sweeps import some

ADDRESSES = [
    "layer=conv1&kernel=2&weight=0,2&step=4",
    "layer=conv2&kernel=1&slice=3&weight=1,0&step=6&at=1,2&scope=batch&tab=error",
    "layer=conv1&weight=1,1&step=5&source=probe&probe=2&at=7,0",
    "layer=answer&kernel=2&step=8&rows=backward",
    "layer=conv1&weight=1,1&step=4&view=dense&signs=1",
    "layer=conv1&weight=1,1&step=4&view=families&order=filter",
    "layer=conv1&weight=1,1&step=12&view=compare&since=3&curve=val_loss",
    "layer=conv2&weight=0,1&step=2&order=size",
]


def fields(address):
    return dict(part.split("=", 1) for part in address.split("&") if part)


class TestAddress:
    @pytest.mark.parametrize("address", some(ADDRESSES, quick=ADDRESSES[1:3]))
    def test_is_the_screen_and_back(self, reader, address):
        """Address -> screen -> address -> screen is the identity."""
        reader.open(address)
        found = fields(reader.address)
        assert {name: found.get(name) for name in fields(address)} == fields(address)
        first, screen = reader.address, reader.page.inner_text("#main")
        reader.open(first)
        assert reader.address == first
        assert reader.page.inner_text("#main") == screen

    def test_one_that_says_nothing_opens_where_a_weight_moved_most(self, reader):
        opening = reader.open("").in_page("microscope.run.about.opening")
        chosen = reader.selection()
        assert (chosen["layer"], chosen["step"]) == (opening["layer"], opening["step"])
        assert [*chosen["weight"], chosen["slice"], chosen["kernel"]] == opening["index"]

    @pytest.mark.parametrize(
        "address",
        some(
            [
                "layer=nothing&step=99999&kernel=77&weight=9,9&at=50,50&probe=-4&slice=-1&kernel=-7",
                "step=abc&view=moon&image=1e9",
                "%%%&=&&lesson=99.99",
                "probe=-4&slice=-1&kernel=-7",
            ],
            quick=1,
        ),
    )
    def test_nonsense_gives_way_to_the_nearest(self, reader, address):
        reader.open(address)
        assert reader.text("#now").startswith("step")
        assert reader.in_page("Boolean(microscope.frame.stage)")

    def test_going_back_is_followed(self, reader):
        reader.open("layer=conv1&weight=1,1&step=4")
        reader.page.evaluate("location.hash = 'layer=conv2&weight=0,0&step=6'")
        reader.page.wait_for_selector(".app[data-step='6']")
        reader.settle()
        assert reader.selection()["layer"] == "conv2"


class TestPointer:
    def test_hover_passes_and_leaves_no_trace(self, reader):
        reader.open("layer=conv1&kernel=2&weight=1,1&step=4&at=3,3")
        before, address = reader.text("#read"), reader.address
        box = reader.page.locator("[data-tile=z] .map").bounding_box()
        reader.page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + box["height"] * 0.1)
        assert "at (0, 7)" in reader.text("#read")
        assert reader.text(".neuronbox h2") == "Neuron at (0, 7)"
        assert reader.address == address
        reader.page.mouse.move(5, 5)
        assert reader.text("#read") == before

    def test_a_click_pins(self, reader):
        reader.open("layer=conv1&kernel=2&weight=1,1&step=4&at=3,3")
        box = reader.page.locator("[data-tile=a] .map").bounding_box()
        reader.page.mouse.click(box["x"] + box["width"] * 0.9, box["y"] + box["height"] * 0.9)
        reader.page.mouse.move(5, 5)
        reader.settle()
        assert reader.selection()["at"] == [7, 7]
        assert "at (7, 7)" in reader.text("#read")

    def test_the_pool_means_its_winner(self, reader):
        reader.open("layer=conv1&kernel=2&weight=1,1&step=4")
        winners = reader.in_page("[...microscope.frame.stage.winners(microscope.frame.row)]")
        box = reader.page.locator("[data-tile=pool] .map").bounding_box()
        reader.page.mouse.click(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.6)
        reader.settle()
        place = 2 * 4 + 1
        assert reader.selection()["at"] == [winners[place] // 8, winners[place] % 8]

    def test_hover_pauses_playing(self, reader):
        reader.open("layer=conv1&weight=1,1&step=0")
        reader.page.click("#c-play")
        assert reader.page.get_attribute("#c-play", "aria-label") == "Pause"
        reader.page.hover("[data-tile=z] .map")
        assert reader.page.get_attribute("#c-play", "aria-label") == "Play"

    def test_playing_goes_through_all_recorded_steps(self, reader):
        reader.open("layer=conv1&weight=1,1&step=9")
        reader.page.click("#c-play")
        reader.page.wait_for_selector(".app[data-step='12']")
        reader.page.wait_for_selector("#c-play[aria-label=Play]")

    def test_a_drag_on_the_slider_snaps_to_recorded_steps(self, reader):
        reader.open("layer=conv1&weight=1,1&step=2")
        box = reader.page.locator("#plot > svg").bounding_box()
        y = box["y"] + box["height"] - 30
        reader.page.mouse.move(box["x"] + 100, y)
        reader.page.mouse.down()
        reader.page.mouse.move(box["x"] + box["width"] - 9, y, steps=5)
        reader.page.mouse.up()
        reader.page.wait_for_selector(".app[data-step='12']")

    def test_a_frame_of_the_film_is_a_step(self, reader):
        reader.open("layer=conv1&weight=1,1&step=2")
        reader.page.locator("#plot .hit").nth(7).click(force=True)
        reader.settle()
        assert reader.selection()["step"] == 7


class TestKeys:
    """The page by keyboard alone."""

    def test_steps_and_ledgers(self, reader):
        reader.open("layer=conv1&weight=1,1&step=4")
        steps = [
            reader.press(key).selection()["step"]
            for key in (
                "ArrowRight",
                "ArrowLeft",
                "ArrowLeft",
                "Shift+ArrowRight",
                "Shift+ArrowRight",
                "Shift+ArrowLeft",
                "Home",
                "End",
            )
        ]
        assert steps == [5, 4, 3, 4, 6, 4, 0, 12]

    def test_kernels_weights_and_images(self, reader):
        reader.open("layer=conv1&kernel=0&weight=1,1&step=4")
        assert reader.press("]").selection()["kernel"] == 1
        assert reader.press("[", "[").selection()["kernel"] == 4
        assert reader.press("3").selection()["weight"] == [0, 2]
        order = reader.in_page("microscope.frame.stage.ranked([0, 2])")
        images = reader.in_page("[...microscope.frame.stage.images]")
        at = order.index(reader.in_page("microscope.frame.row"))
        assert reader.press("i").selection()["image"] == images[order[(at + 1) % 8]]
        assert reader.press("Shift+I").selection()["image"] == images[order[at]]

    def test_switches(self, reader):
        reader.open("layer=conv1&weight=1,1&step=4")
        tries = [
            ("f", "rows", "forward"),
            ("f", "rows", "both"),
            ("b", "rows", "backward"),
            ("b", "rows", "both"),
            ("a", "scope", "batch"),
            ("e", "tab", "error"),
            ("d", "view", "dense"),
            ("d", "view", "bench"),
            ("m", "signs", True),
        ]
        for key, name, value in tries:
            assert reader.press(key).selection()[name] == value, (key, name)
        assert reader.press("l").selection()["lesson"] == "1.1"
        reader.page.wait_for_selector(".lessonbox li[aria-current]")
        assert reader.press("Space").selection()["lesson"] == "1.2"
        assert reader.press("l").selection()["lesson"] == ""

    def test_space_plays_and_pauses(self, reader):
        reader.open("layer=conv1&weight=1,1&step=0")
        reader.page.keyboard.press("Space")
        assert reader.page.get_attribute("#c-play", "aria-label") == "Pause"
        reader.page.keyboard.press("Space")
        assert reader.page.get_attribute("#c-play", "aria-label") == "Play"

    def test_arrows_in_a_map_move_the_position_and_keep_the_focus(self, reader):
        reader.open("layer=conv1&weight=1,1&step=4&at=3,3")
        reader.page.focus("[data-tile=z] .map")
        reader.press("ArrowRight", "ArrowDown", "ArrowDown")
        assert reader.selection()["at"] == [5, 4]
        assert reader.selection()["step"] == 4
        assert reader.in_page("document.activeElement.closest('figure').dataset.tile") == "z"

    def test_arrows_in_a_list_choose(self, reader):
        reader.open("layer=conv1&kernel=1&weight=1,1&step=4")
        reader.page.focus(".first [role=option][aria-selected=true]")
        reader.press("ArrowRight", "ArrowRight")
        assert reader.selection()["kernel"] == 3
        assert reader.in_page("document.activeElement.getAttribute('aria-label')") == "kernel 3"
        reader.page.focus(".strip [role=option][aria-selected=true]")
        reader.press("ArrowRight")
        assert reader.in_page("document.activeElement.getAttribute('aria-selected')") == "true"

    def test_t_opens_the_table_of_what_is_focused(self, reader):
        reader.open("layer=conv1&kernel=1&weight=1,1&step=4")
        for selector, title in [
            ("[data-tile=w] .map", "Kernel 1, before step 4"),
            ("#tab-value", "Neuron at"),
            (".strip [aria-selected=true]", "What each image gave"),
        ]:
            reader.page.focus(selector)
            reader.page.keyboard.press("t")
            assert reader.text("dialog h2").startswith(title)
            assert reader.rows()
            reader.page.keyboard.press("Escape")
        reader.page.evaluate("document.activeElement.blur()")
        reader.page.keyboard.press("t")
        assert reader.text("dialog h2").startswith("Loss and W[1,1]")

    def test_question_mark_lists_them_all(self, reader):
        reader.open("layer=conv1&weight=1,1&step=4")
        reader.page.keyboard.press("?")
        assert len(reader.page.locator("dialog tr").all()) > 14
        reader.page.keyboard.press("ArrowRight")
        assert reader.selection()["step"] == 4

    def test_s_plays_or_says_that_it_cannot(self, reader):
        reader.open("layer=conv1&weight=1,1&step=4")
        reader.press("s")
        assert "weight" in reader.text("#say") or "sound" in reader.text("#say")

    def test_only_keys_are_spoken(self, reader):
        """The readout goes to the live region on keys, not under the pointer."""
        reader.open("layer=conv1&weight=1,1&step=4&at=3,3")
        reader.page.hover("[data-tile=z] .map")
        assert reader.page.text_content("#say") == ""
        reader.page.keyboard.press("ArrowRight")
        reader.settle()
        assert "Step 5" in reader.page.text_content("#say")

    def test_tab_reaches_everything_in_order(self, reader):
        reader.open("layer=conv1&weight=1,1&step=4")
        found = []
        for _ in range(60):
            reader.page.keyboard.press("Tab")
            found.append(
                reader.in_page(
                    """(() => { const e = document.activeElement;
                    const near = e.closest('section, nav, header');
                    return e.closest('figure')?.dataset.tile ?? near?.id ?? '' })()"""
                )
            )
        for place in ("net", "left", "x", "w", "z", "a", "pool", "terms", "d-z", "right", "time"):
            assert place in found, place
