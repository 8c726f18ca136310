"""One unit of a feature map in numbers: how its value comes about, and where its error comes from."""
