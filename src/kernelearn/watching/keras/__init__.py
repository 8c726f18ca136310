"""A training in Keras 3's `fit`, seen by a callback: on recorded steps the products with weights are looked at."""
