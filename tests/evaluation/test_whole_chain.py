"""From a workflow to a report: a real server draws squares, a judge counts them exactly, the scores are the truth."""

import json

import pytest
from accelerate import PartialState
from drawn_runs import SquareCounter

from evaluation.answering import answer_all
from evaluation.run_folder import RunFolder

CSV = """\
item_id,text,proposition_id,dependency,tuple,question_natural_language
both,two red squares and one blue square,1,0,entity - whole (red squares),Is there a red square?
both,two red squares and one blue square,2,1,"other - count (red squares, ==2)",Are there exactly two red squares?
both,two red squares and one blue square,3,0,entity - whole (blue square),Is there a blue square?
single,one green square,1,0,entity - whole (green square),Is there a green square?
single,one green square,2,1,"other - count (green square, ==1)",Are there exactly one green squares?
"""


@pytest.fixture
def run(evaluation, graph, server, tmp_path):
    """A function: name, seed -> the folder of a run of CSV with four pictures of each prompt, judged."""

    def begin(name, seed, suite="custom"):
        drawn = graph()
        drawn["5"]["class_type"] = "DrawSquares"
        (tmp_path / "questions.csv").write_text(CSV)
        (tmp_path / "workflow.json").write_text(json.dumps(drawn))
        command = ["--suite", suite, "--data", tmp_path / "questions.csv", "--workflow", tmp_path / "workflow.json"]
        result = evaluation("generate", *command, "--servers", server.address, "--seed", seed, "--out", tmp_path / name)
        assert result.returncode == 0, result.stderr
        assert (
            answer_all(RunFolder(tmp_path / name), SquareCounter(), "square-counter", 4, PartialState(cpu=True)) == []
        )
        return tmp_path / name

    return begin


def scores(evaluation, *arguments):
    result = evaluation("score", *arguments)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_from_a_workflow_to_a_report(run, evaluation, tmp_path):
    # Odd seeds lack the first square: two of four pictures. both: one red square is left, so 2 of 3 questions hold.
    # single: nothing is left, neither question holds.
    folder = run("run", 1000)
    found = scores(evaluation, folder)
    assert found["prompts"] == pytest.approx({"both": 100 * (2 + 2 * 2 / 3) / 4, "single": 50})
    assert found["overall"] == pytest.approx((100 * 5 / 6 + 50) / 2)
    assert found["categories"] == pytest.approx(
        {"entity": 100 * 10 / 12, "entity - whole": 100 * 10 / 12, "other": 50, "other - count": 50}
    )
    assert found["judges"]["square-counter"]["model"] == "exact" and found["images"] == 4
    # Official: row 1 is skipped and both, which needs it, is dropped. The last picture has the odd seed 1003.
    official = scores(evaluation, folder, "--rule", "official")
    assert official["prompts"] == {"single": 50} and list(official["dropped"]) == ["both"]
    assert official["categories"] == {"entity": 0, "entity - whole": 0, "other": 0, "other - count": 0}
    result = evaluation("report", folder, "--out", tmp_path / "report.html")
    assert result.returncode == 0, result.stderr
    assert f"{found['overall']:.2f}" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_two_runs_are_compared_prompt_by_prompt(run, evaluation, tmp_path):
    first = run("first", 1000)
    second = run("second", 1001)  # seeds 1001 to 1004 lack as much
    same = scores(evaluation, first, "--against", second)["comparison"]
    assert (same["difference"], same["better"], same["worse"], same["same"]) == (0, 0, 0, 2)
    # Someone else's judge sees the green square in picture 0 of the second run.
    answers = RunFolder(second).answers("square-counter")
    answers.append(
        *({**line, "answer": "yes"} for line in answers.read() if line["prompt"] == "single" and line["index"] == 0)
    )
    found = scores(evaluation, second, "--against", first)
    assert found["prompts"]["single"] == 75 and found["comparison"]["differences"] == {"both": 0, "single": 25}
    assert (found["comparison"]["better"], found["comparison"]["p_value"]) == (1, 1)


def test_answers_of_several_judges(run, evaluation):
    folder = run("run", 1000)
    answers = RunFolder(folder).answers("square-counter")
    lines = answers.read()
    # Two judges that share the work count together, two that did the same work do not.
    answers.path.write_bytes(b"")
    RunFolder(folder).answers("a").append(*(line for line in lines if line["prompt"] == "both"))
    RunFolder(folder).answers("b").append(*(line for line in lines if line["prompt"] == "single"))
    together = scores(evaluation, folder)
    assert set(together["judges"]) >= {"a", "b"} and together["overall"] == pytest.approx((100 * 5 / 6 + 50) / 2)
    RunFolder(folder).answers("c").append(*lines)
    both = evaluation("score", folder)
    assert both.returncode == 1 and "a and c both answered" in both.stderr and "--judge" in both.stderr
    assert scores(evaluation, folder, "--judge", "c")["overall"] == together["overall"]
    assert (
        "no answers of d: the judges that answered there are a, b, c"
        in evaluation("score", folder, "--judge", "d").stderr
    )
    missing = evaluation("score", folder, "--judge", "a")
    assert missing.returncode == 1 and "question 1 on picture 0 of single has no answer" in missing.stderr


def test_nothing_to_score(evaluation, tmp_path):
    nothing = evaluation("score", tmp_path)
    assert nothing.returncode == 1 and "holds no run.json" in nothing.stderr
    loose = evaluation("score", "--suite", "custom")
    assert loose.returncode == 1 and "give either the folder of a run" in loose.stderr
