"""What is measured, one file a section; `run(bench)` gives its rows. `suite.sections` has their order."""
