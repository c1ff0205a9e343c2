"""Text files with a prompt in each line."""

from ..errors import EvaluationError
from .question_csv import read_bytes


def read_lines(path):
    """[(line number from 1, line)] of a UTF-8 text file without its empty lines."""
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise EvaluationError(f"{path} is not UTF-8 text; save it as UTF-8.") from None
    lines = ((number, line.strip()) for number, line in enumerate(text.split("\n"), 1))
    return [(number, line) for number, line in lines if line]
