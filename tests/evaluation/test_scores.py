"""Scores of the other benchmarks against values worked out by hand, scipy's own methods and brute force."""

import itertools
import math

import numpy as np
import pytest

from evaluation.errors import EvaluationError
from evaluation.scores import RULES, score_answers
from evaluation.scores.answers import Answer
from evaluation.scores.intervals import compare, interval, intervals
from evaluation.scores.object_demands import meets_demands, places
from evaluation.scores.score import Score
from evaluation.scores.spatial_relation import Detection, position, spatial_score
from evaluation.suites import NAMES
from evaluation.suites.suite import MATCH, NUMBER, OBJECTS, SPATIAL, Prompt, Question, Suite


def answers_of(values):
    return {key: Answer(*(value if isinstance(value, tuple) else ("", value))) for key, value in values.items()}


# ---- T2I-CompBench


def t2i_suite():
    two = (Question(1, "a?", category="attribute"), Question(2, "b?", category="attribute"))
    spatial, action = (
        Question(3, "s", category="spatial", kind=SPATIAL),
        Question(4, "t", category="action", kind=MATCH),
    )
    return Suite(
        "t2i_compbench",
        (
            Prompt("color_1", "x", two, "color"),
            Prompt("spatial_1", "x", (spatial,), "spatial"),
            Prompt("non_1", "x", (action,), "non_spatial"),
            Prompt("complex_1", "x", (*two, spatial), "complex"),
            Prompt("complex_2", "x", (*two, action), "complex"),
            Prompt("complex_3", "x", (*two, spatial, action), "complex"),
        ),
        "t2i_compbench",
    )


def test_t2i_compbench_by_hand():
    p = {1: 0.9, 2: 0.7, 3: 0.8, 4: 0.31}
    suite = t2i_suite()
    answers = answers_of({(prompt.id, 0, q.id): p[q.id] for prompt in suite.prompts for q in prompt.questions})
    score = score_answers(suite, answers, 1)
    product = 0.9 * 0.7
    complex_ = [(product + 0.8) / 2, (product + 0.31) / 2, (product + 0.8 + 0.31) / 3]
    expected = {"color": 63, "spatial": 80, "non_spatial": 31, "complex": 100 * sum(complex_) / 3}
    assert score.categories == pytest.approx(expected, rel=1e-12)
    assert score.overall == pytest.approx(sum(expected.values()) / 4, rel=1e-12)


def test_official_products_have_four_digits():
    suite = Suite("t2i_compbench", t2i_suite().prompts[:1], "t2i_compbench")
    answers = answers_of({("color_1", 0, 1): 0.33333, ("color_1", 0, 2): 0.77777})
    assert score_answers(suite, answers, 1, "official").overall == pytest.approx(25.93, abs=1e-9)
    assert score_answers(suite, answers, 1, "corrected").overall == pytest.approx(100 * 0.33333 * 0.77777, rel=1e-12)


def test_a_judge_without_probabilities_can_t_score_by_them():
    suite = Suite("t2i_compbench", t2i_suite().prompts[:1], "t2i_compbench")
    answers = answers_of({("color_1", 0, 1): ("yes", None), ("color_1", 0, 2): ("yes", 0.5)})
    with pytest.raises(EvaluationError, match="question 1 on picture 0 of color_1 has no p_yes"):
        score_answers(suite, answers, 1)


def box(x, y, width=100, height=100):
    return (x, y, x + width, y + height)


@pytest.mark.parametrize(
    ("relation", "first", "second", "expected"),
    [
        ("on the left of", box(0, 0), box(300, 50), 1),
        ("on the left of", box(300, 0), box(0, 50), 0),
        ("on the right of", box(300, 0), box(0, 50), 1),
        ("on the left of", box(0, 0), box(50, 100), 0),  # more above than left
        ("on the top of", box(0, 0), box(30, 200), 1),
        ("on the bottom of", box(0, 300), box(0, 0), 1),
        ("on the bottom of", box(0, 0), box(0, 300), 0),
        ("on top of", box(0, 0), box(0, 300), 0),  # as published: the words have no branch
        ("on the left of", box(0, 0), box(50, 0), 0.1 / (5000 / 15000)),  # they overlap by a third
        ("next to", box(0, 0), box(149, 900), 1),
        ("near", box(0, 0), box(300, 600), 150 / 600),
        (None, box(0, 0), box(300, 0), 0),
    ],
)
def test_positions(relation, first, second, expected):
    assert position(relation, first, second) == pytest.approx(expected, rel=1e-12)


def test_spatial_score():
    cup, dog = Detection("cup", 0.9, box(0, 0)), Detection("dog", 0.5, box(300, 0))
    second_cup = Detection("cup", 1.0, box(600, 0))
    score = spatial_score(["cup", "dog"], "on the left of", [cup, second_cup, dog])
    assert score == pytest.approx(0.25 * 0.9 + 0.25 * 0.5 + 0.5)
    assert spatial_score(["cup", "dog"], "on the right of", [cup, dog]) == 0  # 0.35 is below a half
    assert spatial_score(["cup", "cat"], "on the left of", [cup, dog]) == 0
    assert spatial_score([], "near", [cup, dog]) == 0


# ---- GenEval


def demands(tag, *include, exclude=()):
    return {"tag": tag, "include": list(include), "exclude": list(exclude)}


def one(label, confidence=0.95, x=0, y=0):
    return Detection(label, confidence, box(x, y))


@pytest.mark.parametrize(
    ("details", "detections", "colors", "met"),
    [
        (demands("single_object", {"class": "cup", "count": 1}), [one("cup", 0.31)], "", True),
        (demands("single_object", {"class": "cup", "count": 1}), [one("cup", 0.3)], "", False),
        (demands("two_object", {"class": "cup", "count": 1}, {"class": "dog", "count": 1}), [one("cup")], "", False),
        (
            demands("counting", {"class": "cup", "count": 2}, exclude=[{"class": "cup", "count": 3}]),
            [one("cup")] * 2,
            "",
            True,
        ),
        (
            demands("counting", {"class": "cup", "count": 2}, exclude=[{"class": "cup", "count": 3}]),
            [one("cup")] * 3,
            "",
            False,
        ),
        # Counting wants more confidence.
        (demands("counting", {"class": "cup", "count": 2}), [one("cup"), one("cup", 0.89)], "", False),
        (demands("colors", {"class": "cup", "count": 1, "color": "red"}), [one("cup")], "red", True),
        (demands("colors", {"class": "cup", "count": 1, "color": "red"}), [one("cup")], "blue", False),
        (
            demands("position", {"class": "cup", "count": 1}, {"class": "dog", "count": 1, "position": ["left of", 0]}),
            [one("cup", x=300), one("dog")],
            "",
            True,
        ),
        (
            demands("position", {"class": "cup", "count": 1}, {"class": "dog", "count": 1, "position": ["above", 0]}),
            [one("cup", x=300), one("dog")],
            "",
            False,
        ),
        (
            demands("position", {"class": "cup", "count": 1}, {"class": "dog", "count": 1, "position": ["above", 0]}),
            [one("dog")],
            "",
            False,
        ),
    ],
)
def test_demands(details, detections, colors, met):
    found, reason = meets_demands(details, detections, lambda detection: colors)
    assert found is met and bool(reason) is not met


def test_only_the_surest_objects_are_asked_for_their_colour():
    seen = []
    details = demands("colors", {"class": "cup", "count": 1, "color": "red"})
    meets_demands(details, [one("cup", 0.5), one("cup", 0.9, x=50)], lambda detection: seen.append(detection) or "red")
    assert [detection.confidence for detection in seen] == [0.9]


def test_places():
    assert places(box(0, 0), box(300, 0)) == {"left of"} and places(box(0, 0), box(0, 0)) == set()
    assert places(box(300, 300), box(0, 0)) == {"right of", "below"}
    assert places(box(0, 0), box(19, 0)) == set()  # apart by less than a tenth of both widths


def test_geneval_is_the_mean_of_its_tasks():
    question = (Question(1, "x", kind=OBJECTS),)
    ids = {"a": "counting", "b": "counting", "c": "counting", "d": "colors"}
    suite = Suite("geneval", tuple(Prompt(i, "x", question, task) for i, task in ids.items()), "task_means")
    right = {"a": "yes", "b": "no", "c": "No", "d": "Yes."}
    score = score_answers(suite, answers_of({(i, 0, 1): (text, None) for i, text in right.items()}), 1)
    assert score.categories == pytest.approx({"counting": 100 / 3, "colors": 100})
    assert score.overall == pytest.approx((100 / 3 + 100) / 2)


# ---- GenEval 2


def test_soft_tifa():
    questions = (
        Question(1, "How many?", category="count", kind=NUMBER, expected="two"),
        Question(2, "Red?", category="attribute"),
    )
    suite = Suite(
        "geneval2",
        (Prompt("a", "x", questions, "atomicity 3"), Prompt("b", "x", questions, "atomicity 4")),
        "soft_tifa",
    )
    p = {
        ("a", 0, 1): 0.25,
        ("a", 0, 2): 1.0,
        ("a", 1, 1): 0.81,
        ("a", 1, 2): 1.0,
        ("b", 0, 1): 0.0,
        ("b", 0, 2): 1.0,
        ("b", 1, 1): 0.49,
        ("b", 1, 2): 0.49,
    }
    score = score_answers(suite, answers_of(p), 2, "official")
    assert score.prompts == pytest.approx({"a": 100 * (0.5 + 0.9) / 2, "b": 100 * (0 + 0.49) / 2})
    assert score.overall == pytest.approx((70 + 24.5) / 2)
    assert score.others["soft_tifa_am"] == pytest.approx(100 * (0.625 + 0.905 + 0.5 + 0.49) / 4)
    assert score.categories["count"] == pytest.approx(100 * (0.25 + 0.81 + 0 + 0.49) / 4)
    assert score.categories["atomicity 3"] == pytest.approx(70)


# ---- intervals and comparison


def test_interval_of_every_resample():
    # Four prompts have 4^4 equally likely resamples; the bootstrap's percentiles are those of all of them.
    values = np.array([0.0, 50.0, 75.0, 100.0])
    every = [np.mean(sample) for sample in itertools.product(values, repeat=4)]
    low, high = np.percentile(every, [2.5, 97.5])
    assert interval(values) == pytest.approx([low, high], abs=2.6)  # 2,000 draws over a grid of 6.25


def test_interval_of_a_mean_over_questions():
    generator = np.random.default_rng(4)
    counts = generator.integers(1, 9, 400)
    values = generator.binomial(counts, 0.7)
    low, high = interval(values, counts)
    rate = values.sum() / counts.sum()
    spread = 1.96 * math.sqrt(rate * (1 - rate) / counts.sum())  # of independent questions, as these are
    assert (low, high) == pytest.approx((rate - spread, rate + spread), abs=0.006)


def test_intervals_where_there_is_nothing_to_draw_from():
    assert interval([70.0]) is None and interval([70.0, 70.0]) == [70.0, 70.0]
    score = Score("corrected", 70.0, {"c": 70.0}, {"a": 70.0}, {"c": ({"a": 0.7}, {"a": 1})})
    assert intervals(score) == {"overall": None, "c": None}


def test_intervals_over_tasks_keep_the_tasks_weights():
    prompts = {f"a{i}": 100.0 for i in range(20)} | {"b0": 0.0, "b1": 100.0}
    tasks = {name: name[0] for name in prompts}
    low, high = intervals(Score("corrected", 75.0, {}, prompts, tasks=tasks))["overall"]
    assert (low, high) == (50, 100)  # a mean over prompts would lie between 77 and 100


def score_of(values, rule="corrected"):
    return Score(rule, float(np.mean(list(values.values()))), {}, values)


def test_comparison():
    a = {str(i): 60.0 for i in range(12)}
    b = {str(i): [50.0, 60.0, 61.0][0 if i < 8 else 1 if i < 11 else 2] for i in range(12)}
    found = compare(score_of(a), score_of(b))
    assert (found.better, found.worse, found.same) == (8, 1, 3)
    assert found.difference == pytest.approx((8 * 10 - 1) / 12)
    assert found.interval[0] < found.difference < found.interval[1]
    # Sign test: of nine coins, 0 or 1, or 8 or 9 heads.
    assert found.p_value == pytest.approx(2 * (1 + 9) / 2**9)
    same = compare(score_of(a), score_of(a))
    assert (same.difference, same.interval, same.p_value) == (0, [0, 0], 1)


def test_runs_that_can_t_be_compared():
    with pytest.raises(EvaluationError, match="the prompt b is in one of them alone"):
        compare(score_of({"a": 1.0}), score_of({"a": 1.0, "b": 2.0}))
    with pytest.raises(EvaluationError, match="corrected and official"):
        compare(score_of({"a": 1.0}), score_of({"a": 1.0}, "official"))


def test_every_suite_has_its_rule():
    assert len(NAMES) == 6 and all(
        callable(getattr(rule, name)) for rule in RULES.values() for name in ("official", "corrected")
    )
