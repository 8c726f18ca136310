"""The report: a recorded run as one HTML file that needs no network. `build` puts the sections together."""

from kernelearn.view.report.build import render_report, write_report

__all__ = ["render_report", "write_report"]
