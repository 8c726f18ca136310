"""What became of one damaged file: refused, read with equal or other numbers, or a fault."""

import random
import traceback
from typing import Any

from kernelearn.errors import KernelearnError
from tests.fuzz.kind import Kind

OUTCOMES = ("refused", "equal", "other", "exception", "memory", "hang")


def faults(kind: Kind, title: str) -> tuple[str, ...]:
    """Outcomes that must not be: other numbers only where checksums were wrong."""
    is_seen = kind.has_checksum and title == "raw"
    return ("exception", "memory", "hang", *(["other"] if is_seen else []))


def outcome_of(kind: Kind, title: str, number: int, expected: bytes) -> tuple[str, str]:
    """(outcome, what shows it) of mutation `number`; the same number gives the same damage."""
    damaged = kind.damage[title](kind.good, random.Random(f"{kind.name} {title} {number}"))
    kind.path.write_bytes(damaged)
    try:
        result = kind.read()
    except KernelearnError as error:
        return ("memory", _shown(error)) if _is_memory(error) else ("refused", "")
    except MemoryError as error:
        return "memory", _shown(error)
    except Exception as error:
        return "exception", _shown(error)
    return ("equal", "") if result == expected or damaged == kind.good else ("other", "")


def _is_memory(error: Any) -> bool:
    while error is not None:
        if isinstance(error, MemoryError) and "nested" not in str(error):
            return True
        error = error.__cause__
    return False


def _shown(error: BaseException) -> str:
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {str(error)[:120]} ({place.filename.rpartition('/')[2]}:{place.lineno})"
