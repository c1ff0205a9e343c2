"""The whole chain on drawn pictures with an exact judge, and what a report says, hides and refuses."""

import dataclasses
import json
import re

import pytest
from accelerate import PartialState
from drawn_runs import SquareCounter, drawn_run

from evaluation.__main__ import main
from evaluation.answering import answer_all
from evaluation.judges.judge import Identity
from evaluation.reports.content import collect
from evaluation.reports.published import tables_for
from evaluation.run_folder import RunFolder
from evaluation.suites.suite import Prompt, Question, Suite


def all_there(scene, index):
    return scene


def one_less(scene, index):
    """The second picture lacks one square of the first colour."""
    first, *_ = scene
    return scene if index == 0 else {**scene, first: scene[first] - 1}


# Of a picture that lacks one square by hand: no red square at all in scene_0, so its two questions are no: 0; in all
# others the colour is there and its number is wrong: 3 of 4, 1 of 2, 3 of 4, 5 of 6 questions.
ONE_LESS = [50, (1 + 3 / 4) * 50, (1 + 1 / 2) * 50, (1 + 3 / 4) * 50, (1 + 5 / 6) * 50]


def judged_run(path, shown=all_there, judge=None, **options):
    run = drawn_run(path, shown, **options)
    answer_all(run, judge or SquareCounter(), "counter", 16, PartialState(cpu=True))
    return run


@pytest.fixture
def runs(tmp_path):
    return [judged_run(tmp_path / "base", one_less), judged_run(tmp_path / "ella")]


def report(*runs, more=(), status=0):
    out = runs[0].path.parent / "report.html"
    assert main(["report", *(str(run.path) for run in runs), "--out", str(out), *more]) == status
    return out.read_text(), out.with_suffix(".md").read_text()


def test_exact_answers_become_the_score_by_hand_in_score_and_report(runs, capsys):
    assert main(["score", str(runs[0].path)]) == 0
    scored = json.loads(capsys.readouterr().out)
    overall = sum(ONE_LESS) / 5
    assert scored["overall"] == pytest.approx(overall) and overall == pytest.approx(78.3333, abs=1e-3)
    assert list(scored["prompts"].values()) == pytest.approx(ONE_LESS)
    assert scored["judges"]["counter"]["judge"] == "square-counter"
    # Of 18 first pictures' questions all are yes; of the second ones' the first colour's number, and scene_0's both.
    assert scored["categories"]["entity"] == pytest.approx(100 * (18 - 1) / 18)
    assert scored["categories"]["other - count"] == pytest.approx(100 * (18 - 5) / 18)
    html, text = report(*runs)
    assert re.search(
        r'<td>overall</td><td class="soft">5</td><td>78\.33\s*<span class="interval">[\d. ]+</span></td><td>100\.00',
        html,
    )
    assert re.search(r"\| overall \| 78\.33 \([\d. ]+\) \| 100\.00 \(100\.00 \.\. 100\.00\) \|", text)
    assert "+21.67" in html and "better on 5 prompts, worse on 0, the same on 0; sign test p = 0.0625" in text


def test_the_best_and_worst_prompts_come_with_pictures_questions_and_answers(runs):
    html, text = report(*runs, more=["--prompts", "2"])
    best = html[html.index('<section id="best">') : html.index('<section id="worst">')]
    worst = html[html.index('<section id="worst">') : html.index('<section id="gains">')]
    assert re.findall(r'<div class="id">(\w+)</div>', best) == ["scene_4", "scene_1"]
    assert re.findall(r'<div class="id">(\w+)</div>', worst) == ["scene_0", "scene_2"]
    assert best.count("data:image/jpeg") == 8 and worst.count("data:image/jpeg") == 8
    assert "Are there exactly three green squares?" in worst and '<span class="no">no</span>' in worst
    assert '<section id="losses">' not in html and "| scene_0 | 50.00 | 100.00 | one red square |" in text


def test_everything_that_was_set_stands_in_the_report(tmp_path):
    runs = [judged_run(tmp_path / "base", settings={"workflow": {"3": {"inputs": {"steps": 20}}}})]
    html, text = report(*runs, more=["--rule", "official"])
    for said in ("square-counter", '"template": "{question}"', '"steps": 20', "drawn for a test"):
        assert said.replace('"', "&#34;") in html and said in text
    assert "<div>seed: 7</div>" in html and '"seed": 7' in text
    assert "Rule official" in html and "improves on that judge alone" in html and "improves on that" in text
    assert "depends on the first row of the CSV" in html  # the official rule drops scene_0


def test_the_same_runs_give_the_same_files(runs):
    assert report(*runs) == report(*runs)


def test_texts_of_prompts_do_no_harm(tmp_path):
    text = '<script>alert(1)</script> a | b "c"'
    suite = Suite("custom", (Prompt("p", text, (Question(1, "Is there a red square? <b>"),)),), "graph")
    run = RunFolder.create(tmp_path / "run", {"images": 1, "seed": 0}, suite)
    run.answers("j").append({"prompt": "p", "index": 0, "question": 1, "answer": "yes <i>", "p_yes": None})
    run.answers("j").append({"prompt": "p", "index": 0, "question": 1, "answer": "yes", "p_yes": None})
    html, text = report(run)
    assert "<script>" not in html and "? <b>" not in html and "&lt;script&gt;" in html
    assert "missing" in html and "a \\| b" in text and "<script>" not in text


def test_missing_and_damaged_pictures_are_shown_as_such(runs):
    runs[0].picture_path("scene_0", 1).unlink()
    runs[0].picture_path("scene_2", 0).write_bytes(b"\x89PNG broken")
    html, _ = report(*runs)
    best = html[html.index('<section id="best">') : html.index('<section id="gains">')]
    assert best.count('<div class="lack">missing</div>') == 2


class Named(SquareCounter):
    """The counter under the name of another judge."""

    def __init__(self, name):
        super().__init__()
        self.identity = Identity(name, "exact", "", "{question}", libraries={})


def as_suite(run, name, **changes):
    """A run of a suite `name`."""
    suite = dataclasses.replace(run.suite, name=name, **changes)
    (run.path / "suite.json").write_text(suite.to_json())
    return RunFolder(run.path)


@pytest.mark.parametrize(
    ("judge", "rule", "images", "remark", "reason"),
    [
        ("mplug", "official", 4, "", None),
        ("blip-vqa", "official", 4, "", "judged by mPLUG-large, these by blip-vqa"),
        ("mplug", "corrected", 4, "", "follow the rule official, these corrected"),
        ("mplug", "official", 2, "", "of 4 pictures of each prompt, these of 2"),
        ("mplug", "official", 4, "own.csv differs from the published file.", "differs from the published file"),
        ("mplug", "official", 4, "only the first 5 of 1065 prompts", "only the first 5 of 1065"),
    ],
)
def test_the_papers_table_is_grey_unless_all_is_as_in_the_paper(tmp_path, judge, rule, images, remark, reason):
    run = judged_run(tmp_path / "run", judge=Named(judge), images=images)
    run = as_suite(run, "dpg_bench", remarks=(remark,) if remark else ())
    html, text = report(run, more=["--rule", rule])
    assert "ELLA-SDv1.5" in html and "74.91" in text
    if reason is None:
        assert html.count('class="grey"') == 8 * 3 and "| 74.91 | (84.03) | 84.61 |" in text
        assert "<li>there is no such score in global, attribute, relation</li>" in html
    else:
        assert html.count('class="grey"') == 8 * 7 and reason in html and reason in text and "(74.91)" in text


def test_only_the_columns_of_another_judge_are_grey(tmp_path):
    suite = Suite(
        "t2i_compbench",
        tuple(
            Prompt(f"{part}_0", "a red square", (Question(1, "a red square?"),), part) for part in ("color", "spatial")
        ),
        "t2i_compbench",
    )
    run = RunFolder.create(tmp_path / "run", {"images": 10, "seed": 0}, suite)
    note = {"note": "not UniDet / Mask2Former of the paper"}
    for prompt, judge, settings in (("color_0", "blip-vqa", {}), ("spatial_0", "detector", note)):
        run.keep_judge_settings(judge, dataclasses.asdict(Identity(judge, "m", "", "", settings=settings)))
        for index in range(10):
            run.answers(judge).append({"prompt": prompt, "index": index, "question": 1, "answer": "yes", "p_yes": 0.5})
    content = collect([run], "corrected", (), 20)
    for beside in content.published:
        objections = beside.objections["run"]
        assert objections["color"] == () and "UniDet, these by detector" in objections["spatial"][0]
    assert len(content.published) == 2 and len(tables_for("custom")) == 0
    html, _ = report(run)
    assert "Judged by blip-vqa (m) and detector (m, not UniDet / Mask2Former of the paper)" in html
    assert re.search(r'<td class="grey">12\.04</td>', html) and re.search(r"<td>37\.50</td>", html)


def test_a_no_may_give_its_reason(tmp_path):
    details = {"tag": "counting", "include": [{"class": "dog", "count": 2}]}
    question = Question(1, "two dogs", kind="objects", details=details)
    prompts = tuple(Prompt(f"0000{number}", "two dogs", (question,), "counting") for number in range(2))
    run = RunFolder.create(tmp_path / "run", {"images": 1, "seed": 0}, Suite("geneval", prompts, "task_means"))
    for prompt, answer in zip(prompts, ("yes", "no: expected dog>=2, found 1"), strict=True):
        run.answers("detector").append(
            {"prompt": prompt.id, "index": 0, "question": 1, "answer": answer, "p_yes": float(answer == "yes")}
        )
    html, text = report(run)
    assert '<span class="no">no: expected dog&gt;=2, found 1</span>' in html and "| counting | 50.00" in text
    assert "neither yes nor no" not in html


def test_runs_of_different_judges_are_not_compared(tmp_path):
    base = judged_run(tmp_path / "base", one_less)
    other = judged_run(tmp_path / "ella", judge=Named("another"))
    html, text = report(base, other)
    sentence = "base and ella were not judged by one and the same judge, so they are not compared."
    assert sentence in html and sentence in text and '<section id="differences">' not in html


def test_what_can_not_be_reported_is_refused_in_a_sentence(runs, tmp_path, capsys):
    unjudged = drawn_run(tmp_path / "unjudged", all_there)
    fewer = judged_run(tmp_path / "fewer", scenes=[{"red": 1}])
    base = str(runs[0].path)
    for arguments, sentence in [
        ([base, base], "a run was given twice"),
        ([base, str(fewer.path)], "base and fewer are of other prompts or questions"),
        ([str(unjudged.path)], "no judge answered there"),
        ([base, "--out", str(tmp_path / "report.txt")], "give the name of an .html file"),
        ([base, "--out", "/dev/full/report.html"], "can't be written"),
        ([str(tmp_path / "nowhere")], "holds no run.json"),
        ([], "no run was given"),
    ]:
        assert main(["report", *arguments]) == 1
        assert sentence in capsys.readouterr().err
    lines = runs[0].answers("counter").read()
    runs[0].answers("counter").path.write_text("".join(json.dumps(line) + "\n" for line in lines[:-1]))
    assert main(["report", base, "--out", str(tmp_path / "r.html")]) == 1
    assert "question 6 on picture 1 of scene_4 has no answer" in capsys.readouterr().err
    assert not (tmp_path / "r.html").exists()


def test_three_runs_are_each_compared_with_the_first(runs, tmp_path):
    third = judged_run(tmp_path / "third", lambda scene, index: {})
    html, _ = report(*runs, third)
    assert "<h3>ella less base</h3>" in html and "<h3>third less base</h3>" in html
    assert "Where third loses most to base" in html and "Where third gains" not in html


@pytest.mark.parametrize(("width", "touch"), [(1280, False), (390, True)])
def test_the_page_needs_nothing_else_and_fits_any_window(tmp_path, open_page, screenshot, width, touch):
    run = judged_run(tmp_path / "base", lambda scene, index: one_less(scene, index % 2), Named("blip-vqa"), images=4)
    other = judged_run(tmp_path / "ella with a long name", judge=Named("blip-vqa"), images=4)
    report(*(as_suite(one, "dpg_bench") for one in (run, other)), more=["--prompts", "2"])
    page = open_page(width, 900, touch)
    problems = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto((tmp_path / "report.html").as_uri())
    page.evaluate("document.querySelectorAll('img').forEach(image => { image.loading = 'eager'; })")
    page.wait_for_function("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator("#worst summary").first.click()
    assert page.locator("#worst").get_by_text("Is there a red square?").first.is_visible()
    page.get_by_role("link", name="Settings").click()
    assert page.evaluate("location.hash") == "#settings"
    screenshot(page)
    assert page.asked_outside == [] and problems == []
