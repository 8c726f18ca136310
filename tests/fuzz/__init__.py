"""Random damage to every kind of file that is read: `make fuzz` runs much of it, the tests a short part."""
