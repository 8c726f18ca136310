"""`kernelearn convert`: a model from one kind of file into another, compared and with its losses told."""
