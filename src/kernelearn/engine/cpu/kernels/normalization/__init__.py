"""Normalisation over the batch and over parts of images."""
