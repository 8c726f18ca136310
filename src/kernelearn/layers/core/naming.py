"""Names of layers: automatic ones, and what no file could hold."""

from __future__ import annotations

import re

from kernelearn.errors import ArgumentError

_name_counts: dict[str, int] = {}
# Names of nested layers are joined, and a file takes 1,000 characters.
_LONGEST_NAME = 240


def snake_case(name: str) -> str:
    """Conv2D -> conv2d, MaxPooling2D -> max_pooling2d, ReLU -> re_lu: Keras's automatic names."""
    words = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", words).lower()


def unique_name(stem: str) -> str:
    """conv2d, conv2d_1, conv2d_2, ... within the process; `kernelearn.utils.clear_session` starts again."""
    count = _name_counts.get(stem, 0)
    _name_counts[stem] = count + 1
    return stem if count == 0 else f"{stem}_{count}"


def check_name(name: str) -> None:
    """Refuse a name that no file could hold.

    Raises: ArgumentError.
    """
    found = [text for text in ("/", "\\", "\0") if text in name]
    reason = f"contains {found[0]!r}" if found else ""
    reason = reason or ("stands for a folder" if name in (".", "..") else "")
    reason = reason or (f"has {len(name)} characters" if len(name) > _LONGEST_NAME else "")
    if not reason and any("\ud800" <= letter <= "\udfff" for letter in name):
        reason = "has characters that cannot be written as UTF-8"
    if reason:
        shown = f"{name[:40]!r}..." if len(name) > 40 else repr(name)
        raise ArgumentError(
            f"The name of a layer becomes part of file names, so it must be plain text without '/' and "
            f"backslashes, of at most {_LONGEST_NAME} characters; {shown} {reason}."
        )


def reset_names() -> None:
    """Start the automatic names again."""
    _name_counts.clear()
