"""What a step is: its programs, losses and updates, made for the sizes that a batch brings."""
