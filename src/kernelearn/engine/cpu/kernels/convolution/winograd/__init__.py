"""Convolutions in fewer multiplications: minimal filtering along one to three axes."""
