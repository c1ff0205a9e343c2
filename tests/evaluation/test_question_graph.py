"""The rules of DPG-Bench on a CSV small enough to be worked out by hand, beside the defects of the official script."""

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from evaluation.errors import EvaluationError
from evaluation.scores import score_answers
from evaluation.scores.answers import by_question
from evaluation.suites import load_suite

REPO = Path(__file__).resolve().parents[2]
HEADER = (
    "item_id,text,keywords,proposition_id,dependency,category_broad,category_detailed,tuple,question_natural_language\n"
)
# chain: 3 hangs on 2 hangs on 1. backwards: the same, but a question stands before what it hangs on.
CSV = (
    HEADER
    + """\
first,A hat on a chair,hat,1,0,entity,whole,entity - whole (hat),A hat?
first,A hat on a chair,hat,2,1,attribute,color,"attribute - color (hat, red)",Is the hat red?
chain,A dog by a tree,dog,1,0,entity,whole,entity - whole (dog),A dog?
chain,A dog by a tree,dog,2,1,attribute,color,"attribute - color (dog, brown)",Is the dog brown?
chain,A dog by a tree,dog,3,2,relation,spatial,"relation - spatial (dog, tree, by)",Is the dog by a tree?
chain,A dog by a tree,tree,4,0,entity,whole,entity - whole (tree),A tree?
backwards,"A cup, white",cup,1,2,entity,whole,entity - whole (cup),A cup?
backwards,"A cup, white",cup,2,3,attribute,color,"attribute - color (cup, white)",Is it white?
backwards,"A cup, white",cup,3,0,global,,global - (photo),A photo?
two parents,Six birds asleep,bird,1,0,entity,state,"entity - state (birds, asleep)",Asleep?
two parents,Six birds asleep,bird,2,"1, 3",attribute,size,"attribute - size (birds, small)",Small?
two parents,Six birds asleep,bird,3,0,other,count,"other - count (birds, ==6)",Six?
"""
)
# prompt -> the answers on picture 0 and on picture 1, in the order of the questions
SAID = {
    "first": (["yes", "yes"], ["no", "yes"]),
    "chain": (["no", "yes", "yes", "yes"], ["yes", "no", "yes", "Yes."]),
    "backwards": (["yes", "yes", "no"], ["yes", "no", "yes"]),
    "two parents": (["yes", "yes", "yes"], ["yes", "yes", "no"]),
}
THIRD = Fraction(1, 3)


def lines_of(said):
    return [
        {"prompt": prompt, "index": index, "question": number, "answer": answer, "p_yes": 0.5}
        for prompt, pictures in said.items()
        for index, answers in enumerate(pictures)
        for number, answer in enumerate(answers, 1)
    ]


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "questions.csv"
    path.write_text(CSV)
    return path


@pytest.fixture
def suite(data):
    return load_suite("dpg_bench", data)


def scored(suite, rule, said=SAID, images=2):
    return score_answers(suite, by_question(lines_of(said)), images, rule)


def percents(fractions):
    return {name: pytest.approx(float(100 * Fraction(value)), rel=1e-15) for name, value in fractions.items()}


def test_the_official_rule_worked_out_by_hand(suite):
    score = scored(suite, "official")
    # chain, picture 0: 1 is no, so 2 becomes 0, so 3 becomes 0; only 4 is left. Picture 1: 2 is no, so 3 becomes 0, and
    # "Yes." is not "yes"; only 1 is left.
    chain = (Fraction(1, 4) + Fraction(1, 4)) / 2
    # backwards, picture 0: 1 is looked at before 2 became 0 for 3's sake, and stays. Picture 1: 2 is no, so 1 is 0.
    backwards = (THIRD + THIRD) / 2
    # two parents, picture 1: 3 is no, so 2 becomes 0.
    two_parents = (1 + THIRD) / 2
    # first loses its row 1, on which its row 2 hangs, and is dropped.
    assert score.prompts == percents({"chain": chain, "backwards": backwards, "two parents": two_parents})
    assert list(score.dropped) == ["first"] and "first row" in score.dropped["first"]
    assert (chain + backwards + two_parents) / 3 == Fraction(5, 12)
    # The last digit: the same operations in the same order as the script's own, in float64.
    script = [(0.25 + 0.25) / 2, (1 / 3 + 1 / 3) / 2, (3 / 3 + 1 / 3) / 2]
    assert score.overall == np.mean(script) * 100 == pytest.approx(float(100 * Fraction(5, 12)), rel=1e-15)


def test_official_categories_are_of_the_last_picture(suite):
    assert scored(suite, "official").categories == percents(
        {
            "entity": Fraction(3, 4),  # dog yes, tree "Yes.", cup yes, asleep yes
            "entity - whole": Fraction(2, 3),
            "entity - state": 1,
            "attribute": THIRD,  # brown no, white no, small yes
            "attribute - color": 0,
            "attribute - size": 1,
            "relation": 1,
            "relation - spatial": 1,
            "global": 1,
            "global -": 1,
            "other": 0,
            "other - count": 0,
        }
    )


def test_the_corrected_rule_worked_out_by_hand(suite):
    score = scored(suite, "corrected")
    # Parents by their own answers: in chain, picture 0, 3 stays since 2 itself was answered yes; "Yes." is yes.
    expected = {
        "first": (Fraction(2, 2) + Fraction(0, 2)) / 2,
        "chain": (Fraction(2, 4) + Fraction(2, 4)) / 2,
        "backwards": (THIRD + THIRD) / 2,
        "two parents": (1 + THIRD) / 2,
    }
    assert score.prompts == percents(expected) and score.dropped == {}
    assert sum(expected.values()) / 4 == Fraction(1, 2) and score.overall == pytest.approx(50, rel=1e-15)
    assert score.overall != scored(suite, "official").overall
    categories = percents(
        {"entity - whole": Fraction(6, 8), "attribute - color": Fraction(4, 6), "global": Fraction(1, 2)}
    )
    assert {name: score.categories[name] for name in categories} == categories


def test_a_missing_answer_drops_a_prompt_officially_and_is_an_error_else(suite):
    said = SAID | {"chain": (SAID["chain"][0], SAID["chain"][1][:3])}
    score = scored(suite, "official", said)
    assert set(score.dropped) == {"first", "chain"} and "picture 1" in score.dropped["chain"]
    assert score.overall == pytest.approx(float(100 * (THIRD + Fraction(2, 3)) / 2), rel=1e-15)
    with pytest.raises(EvaluationError, match="question 4 on picture 1 of chain has no answer"):
        scored(suite, "corrected", said)
    with pytest.raises(EvaluationError, match="drops every prompt"):
        scored(suite, "official", {"first": SAID["first"]})


def test_a_first_prompt_whose_first_question_nothing_hangs_on_is_kept(tmp_path):
    path = tmp_path / "questions.csv"
    path.write_text(CSV.replace("hat,2,1,", "hat,2,0,"))
    score = scored(load_suite("dpg_bench", path), "official")
    assert score.dropped == {} and score.prompts["first"] == 100


def test_a_judge_that_says_neither_yes_nor_no(suite):
    said = SAID | {"first": (["maybe", "yes"], ["no", "yes"])}
    (remark,) = scored(suite, "corrected", said).remarks
    assert remark.startswith("1 of 24 answers") and "'maybe' to question 1 on picture 0 of first" in remark
    babble = {prompt: [["hm"] * len(answers) for answers in pictures] for prompt, pictures in SAID.items()}
    with pytest.raises(EvaluationError, match="none of 24 answers is yes or no"):
        scored(suite, "corrected", babble)


@pytest.mark.parametrize("rule", ["official", "corrected"])
def test_answers_of_another_judge_are_scored_without_a_run(data, tmp_path, rule):
    answers = tmp_path / "answers.jsonl"
    answers.write_text("".join(json.dumps(line) + "\n" for line in lines_of(SAID)) + '{"prompt": "cha')
    command = [sys.executable, "-m", "evaluation", "score", "--suite", "dpg_bench", "--data", data]
    result = subprocess.run(
        [*command, "--answers", answers, "--rule", rule], cwd=REPO, capture_output=True, text=True, check=True
    )
    printed = json.loads(result.stdout)
    score = scored(load_suite("dpg_bench", data), rule)
    assert printed["overall"] == score.overall and printed["categories"] == score.categories
    assert printed["prompts"] == score.prompts and printed["dropped"] == score.dropped
    low, high = printed["interval"]
    assert low < score.overall < high
    assert "entity - whole" in result.stderr and "differs from the published file" in result.stderr


def test_wrong_answers_are_one_sentence(data, tmp_path):
    answers = tmp_path / "answers.jsonl"
    for line, words in (
        ('{"prompt": "chain", "index": 0, "answer": "yes"}', "no 'question'"),
        ('{"prompt": "chain", "index": 0, "question": "2", "answer": "yes"}', "line 1 of the answers is not like"),
        ('{"prompt": "alien", "index": 0, "question": 2, "answer": "yes"}', "none of 1 answers"),
        ("nonsense", "is no JSON object"),
    ):
        answers.write_text(line + "\n")
        command = [sys.executable, "-m", "evaluation", "score", "--suite", "dpg_bench", "--data", data]
        result = subprocess.run([*command, "--answers", answers], cwd=REPO, capture_output=True, text=True)
        assert result.returncode == 1 and words in result.stderr and result.stdout == ""
        assert result.stderr.count("\n") == 1
