"""Weights by cutting planes, and the learners at one fixed kernel matrix that give the cuts.

Solvers see matrices, targets and weights of points; they know nothing of estimators.
"""
