"""The engine: a step as data (`program`), what operators mean (`operators`) and who computes them."""
