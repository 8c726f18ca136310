"""A training in Keras 3's `fit`, seen by a callback that looks at the products with weights."""
