"""From a model to ONNX: the program of a prediction, operator by operator."""
