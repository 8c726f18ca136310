"""Windows of several rows whose rows are filtered, two outputs at a time: fewer products for long taps."""
