class ELLAError(ValueError):
    """An error whose message is one sentence for an artist: what was found, what was expected, what to do."""
