"""python -m evaluation study: people compare the pictures of two or more runs in a browser."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from .errors import EvaluationError
from .run_folder import RunFolder


@dataclass(frozen=True)
class Options:
    """Let people rank the pictures of the same prompts, blind: which follows the text best, which looks best.

    Opens a page in the browser until Ctrl-C, then prints who won. Votes are on disk at once; the same command goes on.
    """

    runs: Positional[tuple[Path, ...]]
    """Two or three folders of runs."""
    prompts: int = 50
    """How many prompts, drawn at random."""
    pictures: int = 1
    """How many pictures of each run stand together; the paper's raters saw four."""
    port: int = 8190
    """0 takes one that is free."""
    host: str = "127.0.0.1"
    """0.0.0.0 lets other machines in; the page's address then holds a token that they need."""
    out: Path | None = None
    """Folder of the votes; the folder study in the first run by default."""
    seed: int = 0
    """Of the choice of prompts and of the order of everything."""
    results: bool = False
    """Only print the results, as JSON on stdout and a table on stderr."""


def run(options):
    """The command; see Options."""
    from .user_study.results import results, table
    from .user_study.study_folder import StudyFolder

    if not 2 <= len(options.runs) <= 3:
        raise EvaluationError(f"{len(options.runs)} runs were given; a study compares two or three.")
    if min(options.prompts, options.pictures) < 1:
        raise EvaluationError(f"{options.prompts} prompts of {options.pictures} pictures are none; give at least 1.")
    runs = [RunFolder(path) for path in options.runs]
    out = options.out or runs[0].path / "study"
    study = StudyFolder(out, runs, options.prompts, options.seed, options.pictures)
    if not options.results:
        from .user_study.server import serve

        with study.lock():
            serve(study, options.host, options.port)
    found = results(study.votes.read(), list(study.labels))
    print(table(found, list(study.labels)), file=sys.stderr)
    if options.results:
        json.dump(found, sys.stdout, indent=2, ensure_ascii=False)
        print()
