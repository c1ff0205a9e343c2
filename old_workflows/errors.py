class WorkflowError(ValueError):
    """A refusal of the converter, one sentence for an artist: what was found, what was expected, what to do."""
