"""Colours of lines, bars and areas side by side, told apart with every common form of colour blindness.

What a number is (weight, activation, error) has its hues in `families`; these tell runs, classes and layers
apart. Line styles and markers change too: nothing rests on colour alone.
"""

# Okabe and Ito: https://jfly.uni-koeln.de/color/; their yellow is left out, it is too faint on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
# Of more classes than these: two more, for pictures of areas.
MORE_COLOURS = ("#8a5a2b", "#999999")
STYLES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
# What is pointed out: a wrong class, a frame.
MARK = COLOURS[1]
# Nothing: between maps, and lines behind others.
GAP = "#b5b5b5"
FAINT = "#9a9a9a"
