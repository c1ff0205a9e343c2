"""What a workflow file says, as a sentence can hold it: one line, and short."""

LONGEST = 60


def quote(value, longest=LONGEST):
    """A value of the file on one line, cut after `longest` characters."""
    text = " ".join(str(value).split())
    return text if len(text) <= longest else text[: longest - 3] + "..."
