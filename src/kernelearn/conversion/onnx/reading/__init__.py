"""From ONNX to a model: nodes become layers, axes are followed, what is not understood is refused by name."""
