"""What every layer is made of: the base, its weights and calls, configs, masks, symbolic tensors."""
