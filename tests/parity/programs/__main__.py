"""Prints the table of the programs for docs/own-code.md: `python -m tests.parity.programs`."""

from tests.parity.programs import table

print(table())
