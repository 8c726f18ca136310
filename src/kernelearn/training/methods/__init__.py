"""The parts of `Trainer`: what a model is asked for besides `compile` and `fit`, one subject a file."""
