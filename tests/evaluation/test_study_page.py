"""The page of the user study in a real browser, served by the command itself."""

import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from drawn_runs import drawn_run

from evaluation.line_file import LineFile

REPO = Path(__file__).resolve().parents[2]


@contextmanager
def studied(runs, *more):
    """The command study of runs -> (the page's address, its words, complete once Ctrl-C has ended it)."""
    command = [sys.executable, "-m", "evaluation", "study", *(str(run.path) for run in runs), "--port", "0", *more]
    process = subprocess.Popen(command, cwd=REPO, stderr=subprocess.PIPE, text=True)
    said = []
    try:
        for line in process.stderr:
            said.append(line)
            if "open http" in line:
                break
        address = re.search("http[^ \n]*", said[-1])[0]
        yield address, said
    finally:
        process.send_signal(signal.SIGINT)
        said += process.stderr.readlines()
        assert process.wait(timeout=30) == 0, "".join(said)


@pytest.fixture
def two(tmp_path):
    return [
        drawn_run(tmp_path / "empty", lambda scene, index: {}),
        drawn_run(tmp_path / "right", lambda scene, index: scene),
    ]


def begin(page, address, name):
    page.goto(address)
    page.get_by_label("Your name").fill(name)
    page.get_by_role("button", name="Begin").click()
    page.locator("#sheet").wait_for()


def loaded(page, count):
    page.wait_for_function(
        "count => { const all = [...document.querySelectorAll('#pictures img')];"
        " return all.length === count && all.every(image => image.complete && image.naturalWidth); }",
        arg=count,
    )


def test_votes_by_keyboard_are_kept_and_the_study_goes_on_where_it_was_left(two, open_page, screenshot):
    votes = LineFile(two[0].path / "study/votes.jsonl")
    page = open_page()
    with studied(two, "--prompts", "3") as (address, _):
        begin(page, address, "Ann")
        loaded(page, 2)
        assert "follows the text best" in page.locator("#question").inner_text()
        screenshot(page, "_first")
        page.keyboard.press("2")
        page.keyboard.press("Backspace")
        assert page.locator(".rank:not(:empty)").count() == 0 and page.locator("#next").is_disabled()
        page.keyboard.press("2")
        screenshot(page, "_chosen")
        page.keyboard.press("Enter")
        assert "looks best" in page.locator("#question").inner_text()
        page.keyboard.press("0")
        page.keyboard.press("Enter")
        page.get_by_text("1 of 3", exact=True).wait_for()
        (line,) = votes.read()
        left, right = line["shown"]
        assert (
            line["rater"] == "Ann"
            and line["alignment"] == {left: 2, right: 1}
            and line["aesthetics"] == {left: 1, right: 1}
        )
    page = open_page()
    with studied(two, "--prompts", "3") as (address, said):
        begin(page, address, "Ann")
        assert page.locator("#count").inner_text() == "1 of 3"
        for _ in range(2):
            before = page.locator("#count").inner_text()
            loaded(page, 2)
            for key in ("1", "Enter", "1", "Enter"):
                page.keyboard.press(key)
            page.wait_for_function("before => document.getElementById('count').textContent !== before", arg=before)
        page.get_by_text("That was the last one").wait_for()
        screenshot(page, "_end")
    assert len(votes.read()) == 3 and "3 votes of 1 raters" in "".join(said)
    assert page.asked_outside == []


def test_three_pictures_are_ranked_by_touch_on_a_phone(two, open_page, tmp_path, screenshot):
    three = [*two, drawn_run(tmp_path / "one less", lambda scene, index: dict(list(scene.items())[:1]))]
    page = open_page(390, 844, touch=True)
    with studied(three, "--prompts", "2", "--pictures", "2") as (address, _):
        begin(page, address, "Ben")
        loaded(page, 3)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        for rank in ("1st", "2nd"):
            page.locator(".picture").nth(2 if rank == "1st" else 0).tap()
        screenshot(page)
        assert page.locator(".rank").all_inner_texts() == ["2nd", "3rd", "1st"]
        page.get_by_role("button", name="Next").tap()
        page.locator(".picture").nth(1).tap()
        page.get_by_role("button", name="No difference").tap()
        page.get_by_role("button", name="Next").tap()
        page.get_by_text("1 of 2", exact=True).wait_for()
    (line,) = LineFile(three[0].path / "study/votes.jsonl").read()
    assert [line["alignment"][label] for label in line["shown"]] == [2, 3, 1]
    assert [line["aesthetics"][label] for label in line["shown"]] == [2, 1, 2]


def test_a_vote_that_could_not_be_sent_stays_on_the_page(two, open_page, screenshot):
    page = open_page()
    with studied(two, "--prompts", "2") as (address, _):
        begin(page, address, "Cleo")
        loaded(page, 2)
        page.route("**/vote", lambda route: route.abort())
        for key in ("1", "Enter", "2", "Enter"):
            page.keyboard.press(key)
        page.get_by_role("alert").wait_for()
        screenshot(page)
        page.unroute("**/vote")
        page.get_by_role("button", name="Next").click()
        page.get_by_text("1 of 2", exact=True).wait_for()
        assert page.get_by_role("alert").count() == 0 or page.get_by_role("alert").is_hidden()
    assert len(LineFile(two[0].path / "study/votes.jsonl").read()) == 1
