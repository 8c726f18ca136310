"""A reader of the page: opens addresses, presses keys, and reads numbers as they stand on the screen."""

import re

# Not `data-step`: the first step is drawn before the page has chosen its liveliest weight.
READY = ".app[data-begun]"
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_POWER = re.compile(r"^([+−-]?[\d.,]+) × 10([⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+)$")


def number(text):
    """What a number on the screen says: true minus, powers of ten, thousands.

    >>> number("−1.25 × 10⁻³"), number("+0.5"), number("1,230")
    (-0.00125, 0.5, 1230.0)
    """
    found = _POWER.match(text.strip())
    mantissa, power = (found.group(1), int(found.group(2).translate(_SUPERSCRIPTS))) if found else (text, 0)
    return float(mantissa.strip().replace("−", "-").replace(",", "").replace("+", "")) * 10.0**power


def last_digit(text):
    """The worth of one in the last place of a number on the screen.

    >>> last_digit("−0.0125"), last_digit("3 × 10⁻²")
    (0.0001, 0.01)
    """
    found = _POWER.match(text.strip())
    mantissa, power = (found.group(1), int(found.group(2).translate(_SUPERSCRIPTS))) if found else (text, 0)
    return 10.0 ** (power - len(mantissa.strip().partition(".")[2]))


class Reader:
    """One page of a browser.

    Attributes:
        page: of playwright; problems: errors of scripts and refused requests so far; foreign: requests to
            anywhere but the page's own server, behind `note_requests`.
    """

    def __init__(self, context, server=None):
        self.server = server
        self.problems = []
        self.foreign = []
        self.page = context.new_page()
        self.page.set_default_timeout(60_000)  # of a machine that has much else to do
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", lambda said: said.type == "error" and self.problems.append(said.text))

    def note_requests(self):
        """From now on. Not for each reader: telling fifty requests of a page to this process takes time."""
        self.page.on("request", self._request)
        return self

    def _request(self, request):
        own = None if self.server is None else f"http://127.0.0.1:{self.server.port}/"
        is_inside = request.url.startswith(("data:", "blob:", "file:", "about:"))
        if not is_inside and (own is None or not request.url.startswith(own)):
            self.foreign.append(request.url)

    def open(self, address=""):
        """Open the page at an address, and wait until it is drawn: all anew, whatever was open before."""
        if self.page.url.startswith(f"http://127.0.0.1:{self.server.port}/"):
            # Another address behind "#" alone would load nothing; by way of an empty page costs a process.
            self.page.evaluate("address => history.replaceState(null, '', '#' + address)", address)
            self.page.reload()
        else:
            self.page.goto(f"{self.server.url}#{address}")
        self.page.wait_for_selector(READY)
        return self.settle()

    def renew(self):
        """Forget what was seen and set, but for the page itself: the next `open` loads it anew."""
        self.problems.clear()
        self.foreign.clear()
        self.page.emulate_media(color_scheme="null", reduced_motion="null")
        self.page.mouse.move(0, 0)
        return self

    def settle(self):
        """Wait until what was chosen last is drawn."""
        self.page.evaluate("async () => { await microscope.idle(); await microscope.settled; }")
        return self

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)
            self.settle()
        return self

    def click(self, selector, **options):
        self.page.click(selector, **options)
        return self.settle()

    @property
    def address(self):
        """What stands behind "#"."""
        return self.page.evaluate("location.hash.slice(1)")

    def text(self, selector):
        return self.page.inner_text(selector).strip()

    def texts(self, selector):
        return [text.strip() for text in self.page.locator(selector).all_inner_texts()]

    def svg_texts(self, selector):
        """Texts of SVG, which have no inner text."""
        return [(text or "").strip() for text in self.page.locator(selector).all_text_contents()]

    def table(self, tile):
        """Rows of the table of a tile, as text, opened and closed by hand."""
        self.page.click(f"[data-tile='{tile}'] .tbl")
        found = self.rows()
        self.page.keyboard.press("Escape")
        return found

    def rows(self):
        """Rows of the open table: cells as text, without head."""
        return self.page.eval_on_selector_all(
            "dialog tbody tr",
            "rows => rows.map(row => [...row.querySelectorAll('td')].map(cell => cell.textContent))",
        )

    def numbers(self, tile):
        """Numbers of the table of a tile; None where nothing is recorded."""
        rows = self.table(tile)
        plain = [[cell.replace(" (hatched)", "") for cell in row] for row in rows]
        return [[None if cell == "not recorded" else number(cell) for cell in row] for row in plain]

    def selection(self):
        """What is chosen."""
        return self.page.evaluate("microscope.state.pinned")

    def in_page(self, script, argument=None):
        return self.page.evaluate(script, argument)
