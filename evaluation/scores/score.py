"""What a rule makes of a suite's answers."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Score:
    """Scores of one run under one rule, all from 0 to 100.

    `overall` is the benchmark's own number, `categories` its columns and `prompts` the score of each prompt, whose mean
    over the run is what intervals and comparisons are made of. `tasks` names each prompt's task where `overall` is a
    mean over tasks, else it is empty. `parts` holds for each category (sums, counts), two dicts by prompt id, of which
    the category is total sum / total count. `dropped` tells of prompts that the rule leaves out, and why. `others` are
    further numbers that go by a name of their own.
    """

    rule: str
    overall: float
    categories: dict[str, float]
    prompts: dict[str, float]
    parts: dict[str, tuple[dict, dict]] = field(default_factory=dict)
    tasks: dict[str, str] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)
    others: dict[str, float] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


class CategorySums:
    """Adds up what belongs to a category, prompt by prompt, in the order of the suite."""

    def __init__(self):
        self.parts = {}

    def add(self, category, prompt_id, values):
        """Counts `values` (0 to 1) of a prompt for a category; a category "" is none."""
        if category and values:
            sums, counts = self.parts.setdefault(category, ({}, {}))
            sums[prompt_id] = sums.get(prompt_id, 0.0) + sum(values)
            counts[prompt_id] = counts.get(prompt_id, 0) + len(values)

    def means(self):
        """{category: 0 to 100}, sorted by name."""
        return {
            name: 100 * sum(sums.values()) / sum(counts.values()) for name, (sums, counts) in sorted(self.parts.items())
        }
