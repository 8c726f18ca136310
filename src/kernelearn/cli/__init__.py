"""The command line of kernelearn."""
