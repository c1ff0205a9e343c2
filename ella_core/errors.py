class ELLAError(ValueError):
    """An error whose message is one sentence for an artist: what was found, what was expected, what to do."""


class OtherModelError(ELLAError):
    """The error of a sound file that holds another model; `kind` says which one, as "a CLIP text encoder"."""

    def __init__(self, message, kind):
        super().__init__(message)
        self.kind = kind
