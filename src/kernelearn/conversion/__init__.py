"""Models of other programs, in and out: one room for each program, each between its files and our layers.

`load_model`, `Model.save`, `load_weights` and `save_weights` come here by the kind of a file
(`formats.model_files`). Nothing that a file names is imported or run.
"""
