class TrainingError(ValueError):
    """An error whose message is one sentence: what was found, what was expected, what to do."""
