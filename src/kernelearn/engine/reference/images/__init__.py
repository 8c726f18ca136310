"""Formulas of operators that change images."""
