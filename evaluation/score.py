"""python -m evaluation score: answers become scores."""

from __future__ import annotations

import dataclasses
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from .errors import EvaluationError
from .line_file import LineFile
from .run_folder import RunFolder
from .suites import load_suite


@dataclass(frozen=True)
class Options:
    """Turn answers into scores: JSON on stdout, a table on stderr.

    Either give the folder of a run, or --suite, --data and --answers to score what somebody else's judge answered.
    """

    run: Positional[Path | None] = None
    """The folder that `generate --out` made and `judge` answered in."""
    rule: Literal["corrected", "official"] = "corrected"
    """official repeats the published script with its defects, for comparison with published numbers."""
    judge: tuple[str, ...] = ()
    """The judges whose answers count. Not needed where each question was answered by one of them."""
    against: Path | None = None
    """Another run of the same suite and judge: adds the difference to it, prompt by prompt."""
    suite: str | None = None
    """Without a run: dpg_bench, dsg1k, t2i_compbench, geneval, geneval2 or custom."""
    data: Path | None = None
    """Without a run: the suite's file or folder."""
    answers: Path | None = None
    """Without a run: lines like {"prompt": "whoops_5", "index": 0, "question": 2, "answer": "yes", "p_yes": 0.97}"""
    categories: tuple[str, ...] = ()
    """Without a run: the categories of t2i_compbench or the tasks of geneval that were answered."""

    def check(self):
        """EvaluationError where neither a run nor loose answers are named, or both."""
        loose = (self.suite, self.data, self.answers)
        if (self.run is None) == (None in loose) or (self.run is not None and any(loose)):
            raise EvaluationError("give either the folder of a run, or all of --suite, --data and --answers.")


def run(options):
    """Prints the scores that `options` ask for."""
    options.check()
    if options.run is not None:
        folder = RunFolder(options.run)
        suite, images = folder.suite, folder.settings["images"]
        judges, lines = judged(folder, options.judge)
    else:
        suite = load_suite(options.suite, options.data, options.categories)
        if not options.answers.is_file():
            raise EvaluationError(f"{options.answers} is not there; give --answers the file of the judge's answers.")
        judges, lines = {}, LineFile(options.answers).read()
        images = 1 + max((line["index"] for line in lines if isinstance(line.get("index"), int)), default=0)
    score = score_lines(suite, lines, images, options.rule)
    result = as_json(suite, score, judges, images)
    if options.against is not None:
        from .scores.intervals import compare

        comparison = dataclasses.asdict(
            compare(score, score_run(RunFolder(options.against), options.judge, options.rule))
        )
        result["comparison"] = {"against": str(options.against), **comparison}
    print(table(result), file=sys.stderr)
    json.dump(result, sys.stdout, indent=2, ensure_ascii=False)
    print()


def score_run(folder, judges=(), rule="corrected"):
    """The Score of a RunFolder by the answers of `judges` (none: all that answered there)."""
    return score_lines(folder.suite, judged(folder, judges)[1], folder.settings["images"], rule)


def score_lines(suite, lines, images, rule):
    """The Score of lines as in answers.<judge>.jsonl; EvaluationError where none of them belongs to the suite."""
    from .scores import score_answers
    from .scores.answers import by_question

    answers = by_question(lines)
    known = {(prompt.id, question.id) for prompt in suite.prompts for question in prompt.questions}
    ours = {key: answer for key, answer in answers.items() if (key[0], key[2]) in known and key[1] < images}
    if not ours:
        raise EvaluationError(
            f"none of {len(lines)} answers is to a question of {suite.name}; check suite, data and answers."
        )
    score = score_answers(suite, ours, images, rule)
    others = len(answers) - len(ours)
    remark = (f"{others} answers are to questions that {suite.name} does not ask, and do not count.",) if others else ()
    return dataclasses.replace(score, remarks=(*suite.remarks, *score.remarks, *remark))


def judged(folder, judges=()):
    """({judge: its settings}, all lines of the judges); EvaluationError where two answered the same question."""
    there = folder.judges()
    lacking = [judge for judge in judges if judge not in there]
    if lacking or not there:
        found = f"the judges that answered there are {', '.join(there)}" if there else "no judge answered there"
        raise EvaluationError(
            f"{folder.path} has no answers{' of ' + lacking[0] if lacking else ''}: {found}; run `judge`."
        )
    lines, by = [], {}
    for judge in judges or there:
        own = folder.answers(judge).read()
        for line in own:
            other = by.setdefault((line.get("prompt"), line.get("index"), line.get("question")), judge)
            if other != judge:
                raise EvaluationError(
                    f"{other} and {judge} both answered question {line.get('question')} on {line.get('prompt')}; "
                    "choose with --judge."
                )
        lines += own
    return {judge: folder.judge_settings(judge) for judge in judges or there}, lines


def as_json(suite, score, judges, images):
    """What `score` prints: numbers from 0 to 100, the judges' settings, and whatever must be said beside them."""
    from .scores.intervals import intervals

    found = intervals(score)
    return {
        "suite": suite.name,
        "rule": score.rule,
        "judges": judges,
        "images": images,
        "overall": score.overall,
        "interval": found["overall"],
        "categories": score.categories,
        "intervals": found,
        "others": score.others,
        "prompts": score.prompts,
        "dropped": score.dropped,
        "remarks": list(score.remarks),
        "source": suite.source,
    }


def table(result):
    """The scores as lines of text."""
    judges = ", ".join(result["judges"]) or "answers as given"
    lines = [f"{result['suite']}, rule {result['rule']}, {judges}, {result['images']} pictures of each prompt"]
    width = max(map(len, ("overall", *result["categories"], *result["others"])))
    for name, value in {"overall": result["overall"], **result["others"], **result["categories"]}.items():
        bounds = result["intervals"].get(name)
        lines.append(
            f"  {name:<{width}}  {value:6.2f}" + (f"   {bounds[0]:6.2f} .. {bounds[1]:6.2f}" if bounds else "")
        )
    if "comparison" in result:
        c = result["comparison"]
        bounds = f" ({c['interval'][0]:+.2f} .. {c['interval'][1]:+.2f})" if c["interval"] else ""
        lines.append(
            f"against {c['against']}: {c['difference']:+.2f}{bounds}; better on {c['better']} prompts, worse on "
            f"{c['worse']}, the same on {c['same']}; sign test p = {c['p_value']:.3g}"
        )
    lines += [f"dropped {prompt}: {why}" for prompt, why in result["dropped"].items()]
    return "\n".join([*lines, *result["remarks"]])
