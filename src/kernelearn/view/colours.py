"""The colours of all figures, told apart with every common form of colour blindness.

Signed numbers are red (positive) and blue (negative), white at 0. Activations and other numbers without a
sign run from dark blue to yellow. Line styles and markers change too: nothing rests on colour alone.
"""

# Okabe and Ito: https://jfly.uni-koeln.de/color/; their yellow is left out, it is too faint on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
# Of more classes than these: two more, for pictures of areas.
MORE_COLOURS = ("#8a5a2b", "#999999")
STYLES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
# What is pointed out: a wrong class, a frame.
MARK = COLOURS[1]
# ColorBrewer's red-blue, and the ends of it for bars: negative and positive.
DIVERGING = "RdBu_r"
ENDS = ("#2166AC", "#B2182B")
SEQUENTIAL = "cividis"
# Nothing: between maps, and lines behind others.
GAP = "#b5b5b5"
FAINT = "#9a9a9a"
