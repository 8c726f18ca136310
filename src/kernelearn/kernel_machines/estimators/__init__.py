"""The scikit-learn estimators: they check what the user gives, pose the problem, and predict."""
