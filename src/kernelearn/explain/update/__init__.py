"""What the optimiser makes of gradients: one update as a sum of parts, and the way of a weight over a run."""
