"""What answers each address of the page: one subject a file; `answers.py` has the table."""
