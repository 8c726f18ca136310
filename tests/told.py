"""What a recorder of warnings heard, without what comes from elsewhere.

A recorder hears whatever is said while it listens, such as a ResourceWarning about what another test left and
that is collected at that moment. A test that counts warnings counts these texts.
"""


def texts(heard, category=UserWarning):
    """The texts of the warnings of ``category``, in the order in which they were said."""
    return [str(warning.message) for warning in heard if issubclass(warning.category, category)]
