"""Examples of the functions of `ops`: what `test_table.py` runs on arrays, in a program, and in a model.

An example calls one function on up to three float32 arrays of shape (6, 4, 5) and says what NumPy gives for
them. A file of examples a family; `EXAMPLES` is all of them.
"""

from tests.ops.examples_choosing import CHOOSING
from tests.ops.examples_entrywise import ENTRYWISE
from tests.ops.examples_networks import NETWORKS
from tests.ops.examples_reductions import REDUCTIONS
from tests.ops.examples_shaping import SHAPING

EXAMPLES = [*ENTRYWISE, *REDUCTIONS, *SHAPING, *CHOOSING, *NETWORKS]
