"""A report's Content as an HTML page that needs nothing else, and as Markdown."""

from __future__ import annotations

import json
from types import SimpleNamespace

from jinja2 import Environment, PackageLoader, StrictUndefined

from .plots import category_bars, difference_histogram

MOST_BARS = 24  # categories beyond which the broad ones alone are drawn


def html_page(content):
    """The page: style, plots and pictures stand in it."""
    names = content.names if len(content.names) <= MOST_BARS else [name for name in content.names if " - " not in name]
    bars = category_bars(names, {result.label: result.columns for result in content.results})
    histograms = {
        label: difference_histogram(list(comparison.differences.values()), comparison.difference)
        for label, comparison in content.comparisons.items()
    }
    return rendered("page.html.j2", True, content, bars=bars, histograms=histograms)


def markdown(content):
    """The same in Markdown, without plots and pictures."""
    return rendered("page.md.j2", False, content)


def rendered(template, escape, content, **more):
    """A template filled with what both forms need."""
    environment = Environment(
        loader=PackageLoader(__package__, ""), autoescape=escape, undefined=StrictUndefined, trim_blocks=not escape
    )
    remarks = dict.fromkeys(remark for result in content.results for remark in result.score.remarks)
    return environment.get_template(template).render(
        content=content,
        title=f"{content.suite.name}: {' and '.join(result.label for result in content.results)}",
        judged_by=judged_by(content),
        asked=asked(content),
        others=list(content.results[0].score.others),
        remarks=list(remarks),
        sections=sections(content),
        number=number,
        bounds=bounds,
        score=score,
        compared=compared,
        greyed=greyed,
        pretty=lambda value: json.dumps(value, indent=2, ensure_ascii=False),
        cell=cell,
        **more,
    )


def sections(content):
    """The lists of prompts, those that hold any."""
    first, last = content.results[0].label, content.results[-1].label
    titles = {
        "best": "Best prompts",
        "worst": "Worst prompts",
        "gains": f"Where {last} gains most on {first}",
        "losses": f"Where {last} loses most to {first}",
    }
    return [
        SimpleNamespace(name=name, title=title, cards=getattr(content, name))
        for name, title in titles.items()
        if getattr(content, name)
    ]


def asked(content):
    """{name: number of prompts that a score is made of}."""
    score = content.results[0].score
    return {"overall": len(score.prompts), **{name: len(sums) for name, (sums, _) in score.parts.items()}}


def judged_by(content):
    """A sentence on the judges and the number of pictures."""
    parts = {}
    for result in content.results:
        judges = " and ".join(named(name, settings) for name, settings in result.judges.items())
        said = f"judged by {judges} on {result.images} picture{'s' * (result.images > 1)} of each prompt"
        parts.setdefault(said, []).append(result.label)
    if len(parts) == 1:
        (said,) = parts
        return f"{said[0].upper()}{said[1:]}."
    return " ".join(f"{' and '.join(labels)}: {said}." for said, labels in parts.items())


def named(name, settings):
    """A judge's name with its model, and what it is not."""
    about = [settings.get("model"), settings.get("settings", {}).get("note")]
    return name + (f" ({', '.join(filter(None, about))})" if any(about) else "")


def compared(comparison):
    """A Comparison in a sentence."""
    c = comparison
    bounds = f" (95 % interval {c.interval[0]:+.2f} .. {c.interval[1]:+.2f})" if c.interval else ""
    return (
        f"{c.difference:+.2f}{bounds}; better on {c.better} prompts, worse on {c.worse}, the same on {c.same}; "
        f"sign test p = {c.p_value:.3g}."
    )


def greyed(beside, column):
    """Whether a published column (None: every one) does not compare with all of the runs."""
    columns = beside.table.columns if column is None else (column,)
    return all(any(objections[name] for objections in beside.objections.values()) for name in columns)


def number(value):
    """A score with two digits."""
    return f"{value:.2f}"


def bounds(pair):
    """An interval."""
    return f"{number(pair[0])} .. {number(pair[1])}"


def score(result, name, with_bounds=True):
    """A run's score of that name, with its interval where it has one; empty where the run has no such score."""
    if name not in result.columns:
        return ""
    value, pair = result.columns[name]
    return number(value) + (f" ({bounds(pair)})" if pair and with_bounds else "")


def cell(text):
    """A text that a cell of a Markdown table can hold."""
    return str(text).replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
