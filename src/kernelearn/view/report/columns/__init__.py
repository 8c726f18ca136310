"""The main figure of the report: which numbers of a layer it holds, and the sums and paths beside it."""
