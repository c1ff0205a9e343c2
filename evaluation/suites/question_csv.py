"""The CSV of DPG-Bench and DSG: a row is a question on a prompt, with the questions it depends on."""

from __future__ import annotations

import csv
import hashlib
import io
from pathlib import Path

from ..errors import EvaluationError
from .suite import Prompt, Question

ITEM, TEXT, NUMBER, PARENTS, TUPLE, QUESTION = COLUMNS = (
    "item_id",
    "text",
    "proposition_id",
    "dependency",
    "tuple",
    "question_natural_language",
)


def read_question_csv(path, published=None):
    """(prompts, remarks) of a question CSV.

    `published` is the git blob hash of a file that the world has scores on. That file is taken as it is: a dependency
    on nothing is left out and counted in a remark. A differing file is named as such in a remark. In any file but the
    published one, a dependency on itself or on a question that is not there raises EvaluationError, as does whatever
    else is wrong, by its line.
    """
    data = read_bytes(path)
    is_published = published is not None and published in (git_blob_hash(data), git_blob_hash(without_cr(data)))
    table = _Table(path, data)
    left_out = 0
    prompts = []
    for item_id, rows in table.prompts.items():
        known = {number for _, number, _ in rows}
        questions = []
        for line, number, row in rows:
            parents, bad = _parents(row[PARENTS], number, known)
            if bad and not is_published:
                raise EvaluationError(
                    f"line {line} of {path} makes question {number} of {item_id} depend on {bad[0]}; write the numbers "
                    "of other questions of the same prompt there, or 0."
                )
            left_out += len(bad)
            category = row[TUPLE].split("(")[0].strip()
            questions.append(Question(number, row[QUESTION], tuple(parents), category))
        prompts.append(Prompt(item_id, table.texts[item_id], tuple(questions)))
    remarks = []
    if published is not None and not is_published:
        remarks.append(
            f"{Path(path).name} differs from the published file, so its scores can't stand beside published ones."
        )
    if left_out:
        remarks.append(f"{left_out} dependencies of the published file lead to no other question and are left out.")
    return tuple(prompts), tuple(remarks)


class _Table:
    """The rows of a question CSV: `prompts` {item id: [(line, question id, row)]}, `texts` {item id: prompt}."""

    def __init__(self, path, data):
        self.path = path
        self.prompts, self.texts = {}, {}
        try:
            reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
            lacking = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
            if lacking:
                raise EvaluationError(
                    f"{path} lacks the columns {', '.join(lacking)}; a question CSV has {', '.join(COLUMNS)}."
                )
            for row in reader:
                self._add(reader.line_num, row)
        except UnicodeDecodeError:
            raise EvaluationError(f"{path} is not UTF-8 text; save the CSV as UTF-8.") from None
        except csv.Error as error:
            raise EvaluationError(
                f"{path} is no CSV ({error}, line {reader.line_num}); save it as CSV again."
            ) from None

    def _add(self, line, row):
        if None in row or None in row.values():
            raise EvaluationError(
                f"line {line} of {self.path} has more or fewer fields than the header; put texts with commas in quotes."
            )
        try:
            number = int(row[NUMBER])
        except ValueError:
            raise EvaluationError(
                f"line {line} of {self.path} has the proposition_id {row[NUMBER]!r}; a whole number belongs there."
            ) from None
        item_id = row[ITEM].strip()
        rows = self.prompts.setdefault(item_id, [])
        if any(number == other for _, other, _ in rows):
            raise EvaluationError(
                f"line {line} of {self.path} is the second question {number} of {item_id}; give each question of a "
                "prompt a proposition_id of its own."
            )
        if self.texts.setdefault(item_id, row[TEXT]) != row[TEXT]:
            raise EvaluationError(
                f"line {line} of {self.path} gives {item_id} another text than the lines before; give each prompt an "
                "item_id of its own."
            )
        rows.append((line, number, row))


def _parents(text, number, known):
    """(ids of the questions that a question depends on, what else the field names)."""
    parents, bad = [], []
    for part in text.split(","):
        part = part.strip()
        if part in ("", "0"):
            continue
        parent = int(part) if part.isdecimal() else None
        if parent == number:
            bad.append("itself")
        elif parent not in known:
            bad.append(f"{part}, which is not there")
        else:
            parents.append(parent)
    return parents, bad


def read_bytes(path):
    """The bytes of a data file; EvaluationError where it can't be read."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise EvaluationError(f"{path} can't be read ({error.strerror}); give --data the file of the suite.") from None


def find_file(data, *names):
    """`data` itself where it is a file, else the first of `names` in the folder that it is."""
    path = Path(data)
    if not path.is_dir():
        return path
    found = next((path / name for name in names if (path / name).is_file()), None)
    if found is None:
        raise EvaluationError(f"{path} holds no {' or '.join(names)}; give --data that file, or the folder it is in.")
    return found


def git_blob_hash(data):
    """The name that git gives to a file of these bytes."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def without_cr(data):
    """The bytes as before a checkout with Windows line ends."""
    return data.replace(b"\r\n", b"\n")
