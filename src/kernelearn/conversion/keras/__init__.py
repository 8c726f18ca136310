"""Files of Keras, in and out: `.keras`, `.weights.h5` and the older `.h5`.

known        what a class name of a file means here: tables; nothing is imported because a file names it
reader       configs -> objects: layers, rules for weights, losses, optimisers
graphs       configs -> models
compiling    what `compile` was told, both ways
states       where the weights of each layer lie in a file, and which weight of ours each is
slots        what an optimiser carries, both ways
writer       models -> configs
zipped, weights, legacy   the three kinds of files
living       models of a Keras that is running
"""
