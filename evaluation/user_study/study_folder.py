"""A study on disk: what is compared, and every vote.

study.json     {"runs": {label: folder}, "sheets": [{"prompt", "text", "indices"}], "seed": 0, "token": "..."}
votes.jsonl    {"rater", "prompt", "indices", "shown": [labels from left to right],
                "alignment": {label: rank from 1}, "aesthetics": {label: rank}, "seconds": 4.2, "time": "..."}
"""

from __future__ import annotations

import dataclasses
import json
import secrets
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import EvaluationError
from ..line_file import LineFile
from ..run_folder import write_whole
from .sheets import Sheet, choose_sheets, run_labels

STUDY, VOTES, LOCK = "study.json", "votes.jsonl", "study.lock"
QUESTIONS = ("alignment", "aesthetics")


class StudyFolder:
    """The study of `runs` (RunFolders) in the folder `path`, which is begun or gone on with.

    EvaluationError where another study is there.
    """

    def __init__(self, path, runs, prompts, seed, pictures=1):
        self.path = Path(path)
        self.labels = run_labels(runs)
        asked = {
            "runs": {label: str(run.path.resolve()) for label, run in self.labels.items()},
            "prompts": prompts,
            "pictures": pictures,
            "seed": seed,
        }
        try:
            settings = json.loads((self.path / STUDY).read_text(encoding="utf-8"))
        except FileNotFoundError:
            sheets = [dataclasses.asdict(sheet) for sheet in choose_sheets(self.labels, prompts, pictures, seed)]
            settings = {**asked, "sheets": sheets, "token": secrets.token_urlsafe(16)}
            write_whole(self.path / STUDY, json.dumps(settings, indent=2, ensure_ascii=False).encode())
        except ValueError:
            raise EvaluationError(f"{self.path / STUDY} is no JSON; give --out a new folder.") from None
        differing = [key for key, value in asked.items() if settings.get(key) != value]
        if differing:
            raise EvaluationError(
                f"{self.path} holds a study with another {' and '.join(differing)}; ask for the same to go on with it, "
                "or give --out a new folder."
            )
        self.seed = seed
        self.token = settings["token"]
        self.sheets = [Sheet(**{**sheet, "indices": tuple(sheet["indices"])}) for sheet in settings["sheets"]]
        self.votes = LineFile(self.path / VOTES)

    @contextmanager
    def lock(self):
        """Holds off a second process; EvaluationError where one is at work on this study."""
        lock = FileLock(self.path / LOCK, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise EvaluationError(
                f"another process serves the study in {self.path}; open its page, or end it first."
            ) from None
        try:
            yield
        finally:
            lock.release()
