"""Training with products of lower precision, under the names that Keras users know.

>>> from kernelearn import mixed_precision
>>> mixed_precision.set_global_policy("mixed_bfloat16")
>>> mixed_precision.global_policy()
'mixed_bfloat16'
>>> mixed_precision.set_global_policy("float32")
"""

from kernelearn.config import policy as global_policy
from kernelearn.config import set_policy as set_global_policy

__all__ = ["global_policy", "set_global_policy"]
