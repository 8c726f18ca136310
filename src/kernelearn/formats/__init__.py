"""File formats, one a file: `native` is the package's own; none of them runs code from a file."""
