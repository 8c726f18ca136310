"""Benchmarks: this library against others on the same work, timed in turn, and against the machine's limits.

The flow: `suite` runs the `sections` asked for. A section gives `Entry` objects to `rivals`, which has each
prepared in a worker process of its framework (`processes`, `worker`, `runners`), times them round by round
(`interleave`) and sums up (`statistics`). `report` and `figure` show it. What is compared are the networks of
`nets`. Only the command line imports this.
"""
