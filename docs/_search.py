"""For the search of the site: pages that explain come before the reference, which has every word."""

from typing import Any

# A title counts a thousand times as much as a text, and the reference has a title for every name.
_REFERENCE = 0.003


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Called for each page before it is turned into HTML; the search reads what its meta data say."""
    if page.file.src_uri.startswith("reference/"):
        page.meta.setdefault("search", {"boost": _REFERENCE})
    return markdown
