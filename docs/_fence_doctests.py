"""For the site's reference pages: examples in docstrings (>>> lines) become code blocks.

Without this, Markdown takes `>>>` for a quotation. Named in mkdocs.yml; no part of the package.
"""

import re
from typing import Any

import griffe

# From the first >>> line to the next empty line, at one indentation.
_EXAMPLE = re.compile(r"^( *)>>> .*\n?(?:^\1\S.*\n?)*(?:^\1 +\S.*\n?)*(?:^\1\S.*\n?)*", re.MULTILINE)


def fenced(text: str) -> str:
    """A docstring with each of its examples between fences."""
    return _EXAMPLE.sub(lambda m: f"{m[1]}```pycon\n{m[0].rstrip()}\n{m[1]}```\n", text)


class FenceDoctests(griffe.Extension):
    """Fences the examples of everything that has a docstring."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Called for each module, class, function and attribute."""
        if obj.docstring is not None:
            obj.docstring.value = fenced(obj.docstring.value)
