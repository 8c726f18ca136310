"""`kernelearn train`: its options, what they resolve to, and the training from data to saved run."""
