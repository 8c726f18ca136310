"""What stands in place of a default where an attribute of an operator has none."""

from enum import Enum
from typing import Final


class _Required(Enum):
    REQUIRED = "required"

    def __repr__(self) -> str:
        return "REQUIRED"


REQUIRED: Final = _Required.REQUIRED
