"""Benchmarks that come as a JSON object in each line."""

import json

from ..errors import EvaluationError
from .prompt_lines import read_lines


def read_json_lines(path, *fields):
    """[(line number, object)]; EvaluationError by its line where one is no object, or lacks a field."""
    records = []
    for number, line in read_lines(path):
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        lacking = list(fields) if not isinstance(record, dict) else [name for name in fields if name not in record]
        if lacking:
            raise EvaluationError(
                f"line {number} of {path} is no JSON object with {', '.join(lacking)}; give --data the published file."
            )
        records.append((number, record))
    return records
