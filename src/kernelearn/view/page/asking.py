"""What an address asks for: its parameters, read with a message for each that is wrong."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from kernelearn.errors import ArgumentError, KernelearnError, UnknownNameError

# Sizes of texts and lists that an address may carry.
_LONGEST = 4096


class Refused(KernelearnError):
    """A question that cannot be answered now; `status` as in HTTP, `kind` a short name."""

    def __init__(self, message: str, status: int, kind: str) -> None:
        super().__init__(message)
        self.status, self.kind = status, kind


class NotRecorded(KernelearnError):
    """What was asked for is not in the record; `about` is what `blocks.absent` says of it."""

    def __init__(self, about: dict[str, Any]) -> None:
        super().__init__(str(about["why"]))
        self.about = about


@dataclass(frozen=True)
class Ask:
    """The parameters of an address, as text."""

    given: Mapping[str, str]

    def check(self, known: Collection[str]) -> None:
        """Refuse parameters without effect."""
        for name, value in self.given.items():
            if name not in known:
                raise ArgumentError(
                    f"This address takes no parameter {name!r}; it takes "
                    f"{', '.join(sorted(known)) or 'none'}."
                )
            if len(value) > _LONGEST:
                raise ArgumentError(f"{name} is longer than {_LONGEST} characters.")

    def has(self, name: str) -> bool:
        """Whether a parameter is there, and not empty."""
        return bool(self.given.get(name))

    def text(self, name: str, default: str | None = None) -> str:
        """A text."""
        value = self.given.get(name) or default
        if value is None:
            raise ArgumentError(f"{name} is missing: add {name}=... to the address.")
        return value

    def texts(self, name: str) -> list[str]:
        """Texts with commas between them; none if there is no such parameter."""
        return [part for part in self.given.get(name, "").split(",") if part]

    def number(self, name: str, default: int | None = None, least: int = 0, most: int = 2**53) -> int:
        """A whole number."""
        value = self.given.get(name)
        if not value:
            if default is None:
                raise ArgumentError(f"{name} is missing: add {name}=... to the address.")
            return default
        found = _whole(name, value)
        if not least <= found <= most:
            raise ArgumentError(f"{name} must lie between {least} and {most}; got {found}.")
        return found

    def numbers(self, name: str) -> tuple[int, ...]:
        """Whole numbers with commas between them; () if there is no such parameter."""
        return tuple(_whole(name, part) for part in self.texts(name))

    def one_of(self, name: str, known: Collection[str], default: str | None = None) -> str:
        """One of some texts."""
        value = self.text(name, default)
        if value not in known:
            raise UnknownNameError(f"{name} must be one of {', '.join(known)}; got {value!r}.")
        return value


def _whole(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise ArgumentError(f"{name} must be a whole number, got {text!r}.") from error
