"""`kernelearn bench`: its options and its command; what is measured is in `kernelearn.bench`."""
