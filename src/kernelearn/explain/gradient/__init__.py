"""Why a gradient is what it is: every term of it, for one weight, from a recording or a live model."""
