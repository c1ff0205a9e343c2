"""A file of JSON lines that is only ever appended to, and that a kill or a full disk can't spoil."""

from __future__ import annotations

import json
import os

from .errors import EvaluationError


class LineFile:
    """JSON objects, one a line, in UTF-8; `path` need not exist yet.

    A line counts once its newline is on disk. What a killed process left after the last newline is not read, and is cut
    off before the next line is appended. Only one process may append at a time (`RunFolder.lock`).
    """

    def __init__(self, path):
        self.path = path
        self._checked = False

    def read(self):
        """All whole lines as dicts, in the order of their appending; [] without a file."""
        try:
            with open(self.path, "rb") as file:
                lines = file.read().split(b"\n")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise EvaluationError(f"{self.path} can't be read ({error.strerror}); check the folder.") from None
        return [self._parse(line, number) for number, line in enumerate(lines[:-1], 1)]

    def append(self, *records):
        """Puts the records on disk, all or none; EvaluationError where the disk takes them not."""
        data = b"".join(json.dumps(record, ensure_ascii=False).encode() + b"\n" for record in records)
        try:
            with open(self.path, "ab", buffering=0) as file:
                if not self._checked:
                    file.truncate(end_of_last_line(self.path))
                    self._checked = True
                size = os.fstat(file.fileno()).st_size
                try:
                    if file.write(data) != len(data):
                        raise OSError(28, "No space left on device")
                    os.fsync(file.fileno())
                except OSError:
                    file.truncate(size)
                    raise
        except OSError as error:
            raise EvaluationError(
                f"{self.path} can't be written ({error.strerror}); make room and run the same command again, "
                "what was done is kept."
            ) from None

    def _parse(self, line, number):
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict):
            raise EvaluationError(
                f"line {number} of {self.path} is no JSON object; remove that line and run the same command again."
            )
        return record


def end_of_last_line(path, block=65536):
    """Number of bytes of a file up to and with its last newline."""
    with open(path, "rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - block)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            end = start
    return 0
