"""python -m evaluation report: one or several runs on a page."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from .errors import EvaluationError
from .run_folder import RunFolder, write_whole


@dataclass(frozen=True)
class Options:
    """Put runs on a page: scores with intervals, published scores, differences, the best and the worst prompts.

    Writes one HTML file that needs nothing else, and a Markdown file beside it. Of several runs of one suite the first
    is what the others are compared with.
    """

    runs: Positional[tuple[Path, ...]]
    """Folders of runs."""
    out: Path = Path("report.html")
    """The HTML file; the Markdown file gets the same name with .md."""
    rule: Literal["corrected", "official"] = "corrected"
    """official repeats the published script with its defects, for comparison with published numbers."""
    judge: tuple[str, ...] = ()
    """The judges whose answers count. Not needed where each question was answered by one of them."""
    prompts: int = 20
    """How many of the best and of the worst prompts are shown."""


def run(options):
    """The command; see Options."""
    from .reports.content import collect
    from .reports.page import html_page, markdown

    if not options.runs:
        raise EvaluationError("no run was given; give the folders of one or several.")
    if options.out.suffix.lower() not in (".html", ".htm"):
        raise EvaluationError(f"--out is {options.out}; give the name of an .html file.")
    content = collect([RunFolder(path) for path in options.runs], options.rule, options.judge, options.prompts)
    beside = options.out.with_suffix(".md")
    write_whole(options.out, html_page(content).encode())
    write_whole(beside, markdown(content).encode())
    print(f"{options.out} and {beside} are written.", file=sys.stderr)
