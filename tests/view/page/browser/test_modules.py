"""Pure modules of the page, called by themselves: colours, numbers as text, addresses, answers."""

import pytest

from .conftest import reading
from .reader import number


@pytest.fixture(scope="module", params=["light", "dark"])
def themed(browser, site, request):
    """A reader in a theme; nothing here changes the page, so that it is opened once for each."""
    for reader in reading(browser, site, color_scheme=request.param):
        yield reader.open("layer=conv1&weight=1,1&step=4")


@pytest.fixture(scope="module")
def opened(browser, site):
    for reader in reading(browser, site):
        yield reader.open("layer=conv1&weight=1,1&step=4")


def test_text_on_every_colour_of_a_cell_can_be_read(themed):
    """Black or white has a contrast of at least 4.5 on every colour of every family."""
    worst = themed.in_page("""async () => {
        const { contrast } = await import("kl/scale");
        const { colours } = microscope;
        const found = [];
        for (const family of ["w", "a", "e"]) for (let i = -100; i <= 100; i++) {
            const ink = colours.ink(i / 100, 1, family) === "#000" ? [0, 0, 0] : [255, 255, 255];
            found.push(contrast(colours.rgb(i / 100, 1, family), ink));
        }
        return Math.min(...found) }""")
    assert worst >= 4.5


def test_the_sign_of_a_number_is_told_apart_and_zero_is_the_page(themed):
    found = themed.in_page("""["w", "a", "e"].map(family =>
        [-1, 0, 1].map(value => microscope.colours.fill(value, 1, family)))""")
    assert len({zero for _, zero, _ in found}) == 1
    assert len({colour for family in found for colour in family}) == 7


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0, 3, "0"),
        (0.01234, 3, "+0.0123"),
        (-1230.4, 3, "−1230"),
        (-3.66e-6, 3, "−3.66 × 10⁻⁶"),
        (4.2e9, 2, "+4.2 × 10⁹"),
        (None, 3, "–"),
    ],
)
def test_numbers_as_text(opened, value, digits, text):
    script = """async ([value, digits]) => (await import("kl/format")).digits(value, digits, true)"""
    found = opened.in_page(script, [value, digits])
    assert found == text
    if value:
        assert number(found) == pytest.approx(value, rel=10.0 ** (1 - digits))


def test_shown_parts_always_add_up(opened):
    """Whatever the parts: rounded ones and what rounding leaves give the rounded total."""
    found = opened.in_page("""async () => {
        const { asShown, sum } = await import("kl/format");
        let seed = 7;
        const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647 - 0.5;
        return Array.from({ length: 300 }, () => {
            const parts = Array.from({ length: 2 + Math.floor(9 * Math.abs(random())) }, random);
            const shown = asShown(parts, sum(parts), 4);
            return [shown.parts.reduce((a, b) => a + b, 0) + shown.rest - shown.total, shown.rest];
        }) }""")
    assert max(abs(left) for left, _ in found) < 1e-12
    assert max(abs(rest) for _, rest in found) < 6 * 1e-4


def test_selections_and_addresses_are_the_same(opened):
    found = opened.in_page("""async () => {
        const { addressOf, selectionOf, usual } = await import("kl/state");
        const wanted = { ...usual(), run: "a&b=c#d/é", layer: "x y", kernel: 3, weight: [1, 2],
                         step: 7, at: [0, 4], source: "probe", probe: 2, with: ["p,q", "r"],
                         lesson: "2.3", signs: true };
        return [wanted, { ...usual(), ...selectionOf("#" + addressOf(wanted)) }] }""")
    assert found[0] == found[1]


def test_damaged_answers_are_refused_in_words(opened):
    found = opened.in_page("""async () => {
        const { decode } = await import("kl/data");
        const told = bytes => { try { decode(bytes); return "" } catch (error) { return error.message } };
        const blocks = { x: { shape: [9], dtype: "float32", offset: 0 } };
        const whole = new TextEncoder().encode(JSON.stringify({ blocks }));
        const cut = new Uint8Array(4 + whole.length);
        new DataView(cut.buffer).setUint32(0, whole.length, true);
        cut.set(whole, 4);
        const long = new Uint8Array(16);
        new DataView(long.buffer).setUint32(0, 9999, true);
        return [new ArrayBuffer(2), long.buffer, cut.buffer].map(told) }""")
    assert all(found)
