from ella_core.errors import ELLAError


class TrainingError(ELLAError):
    """An error whose message is one sentence: what was found, what was expected, what to do."""
