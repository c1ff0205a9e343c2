"""The user study: what is shown to whom, what votes say, and the requests of its server."""

import asyncio
import io
import json
from collections import Counter

import numpy as np
import pytest
from aiohttp.test_utils import TestClient, TestServer
from drawn_runs import SCENES, drawn_run
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from evaluation.__main__ import main
from evaluation.errors import EvaluationError
from evaluation.user_study.results import agreement, results
from evaluation.user_study.server import StudyServer, in_one, is_loopback
from evaluation.user_study.sheets import choose_sheets, labels_for, order_for
from evaluation.user_study.study_folder import StudyFolder


@pytest.fixture
def runs(tmp_path):
    return [drawn_run(tmp_path / name, lambda scene, index: scene) for name in ("base", "ella", "other")]


@pytest.fixture
def study(runs, tmp_path):
    return StudyFolder(tmp_path / "study", runs, 4, 0)


def vote(rater, prompt, *ranks):
    """A vote that ranks the runs a, b, ... alike in both questions."""
    ranks = dict(zip("abc", ranks))
    return {"rater": rater, "prompt": prompt, "indices": [0], "alignment": ranks, "aesthetics": ranks}


def test_sheets_are_drawn_once_and_each_rater_has_an_order_of_their_own(study, runs, tmp_path):
    assert len({sheet.prompt for sheet in study.sheets}) == 4
    assert StudyFolder(tmp_path / "study", runs, 4, 0).sheets == study.sheets
    orders = {tuple(sheet.id for sheet in order_for(study.sheets, rater, 0)) for rater in "abcdefgh"}
    assert len(orders) > 3 and len({tuple(sorted(order)) for order in orders}) == 1
    sides = Counter(
        labels_for(sheet, study.labels, f"rater {number}", 0)[0] for sheet in study.sheets for number in range(300)
    )
    # 1,200 fair draws of three: 400 each, standard deviation 16; four of them
    assert all(abs(count - 400) < 66 for count in sides.values())


def test_only_pictures_that_all_runs_have_are_shown(runs):
    for index in range(2):
        runs[1].picture_path("scene_2", index).unlink()
    runs[2].picture_path("scene_0", 0).write_bytes(b"no picture")
    labels = {run.path.name: run for run in runs}
    for seed in range(5):
        sheets = choose_sheets(labels, 50, 1, seed)
        assert len(sheets) == len(SCENES) - 1
        assert not {("scene_2", 0), ("scene_2", 1), ("scene_0", 0)} & {
            (sheet.prompt, *sheet.indices) for sheet in sheets
        }
        assert {sheet.prompt for sheet in choose_sheets(labels, 50, 2, seed)} == {"scene_1", "scene_3", "scene_4"}
    with pytest.raises(EvaluationError, match="no prompt of which each has the same 3 pictures"):
        choose_sheets(labels, 50, 3, 0)


def test_another_study_in_the_folder_is_refused(study, runs, tmp_path):
    with pytest.raises(EvaluationError, match="a study with another prompts"):
        StudyFolder(tmp_path / "study", runs, 5, 0)
    with pytest.raises(EvaluationError, match="a study with another runs"):
        StudyFolder(tmp_path / "study", runs[:2], 4, 0)


def test_two_processes_on_one_study_are_refused(study, runs, tmp_path):
    with study.lock(), pytest.raises(EvaluationError, match="another process serves the study"):
        with StudyFolder(tmp_path / "study", runs, 4, 0).lock():
            pass


def test_runs_of_one_name_or_of_different_texts_are_refused(runs, tmp_path):
    twin = drawn_run(tmp_path / "deeper" / "base", lambda scene, index: scene)
    with pytest.raises(EvaluationError, match="the same folder name"):
        StudyFolder(tmp_path / "new", [runs[0], twin], 4, 0)
    other = drawn_run(tmp_path / "reversed", lambda scene, index: scene, scenes=SCENES[::-1])
    with pytest.raises(EvaluationError, match="another text for scene_0"):
        StudyFolder(tmp_path / "new", [runs[0], other], 4, 0)


def test_win_rates_by_hand():
    votes = [vote("x", "p1", 1, 2), vote("y", "p1", 1, 2), vote("x", "p2", 2, 1), vote("x", "p3", 1, 1)]
    votes += [vote("x", "p4", 2, 1), vote("x", "p4", 1, 2)]  # the later one counts
    (win,) = results(votes, ["a", "b"])["alignment"]["wins"]
    assert (win["wins"], win["ties"], win["losses"]) == (3, 1, 1) and win["rate"] == 70.0
    low, high = win["interval"]
    assert 0 <= low < 70 < high <= 100


def test_a_shared_first_place_counts_as_its_share():
    found = results([vote("x", "p1", 1, 2, 3), vote("x", "p2", 1, 1, 1)], ["a", "b", "c"])["aesthetics"]
    assert found["first"]["a"]["rate"] == pytest.approx(100 * (1 + 1 / 3) / 2)
    assert found["first"]["c"]["rate"] == pytest.approx(100 / 6)
    assert [(win["a"], win["b"], win["rate"]) for win in found["wins"]] == [
        ("a", "b", 75),
        ("a", "c", 75),
        ("b", "c", 75),
    ]


def test_agreement_is_one_for_equal_raters_about_zero_for_guessing_ones_and_by_hand_between():
    draws = np.random.default_rng(0)

    def votes_of(same):
        for number in range(300):
            first = draws.integers(1, 3)
            second = first if same else draws.integers(1, 3)
            yield vote("x", f"p{number}", first, 3 - first)
            yield vote("y", f"p{number}", second, 3 - second)

    assert agreement(list(votes_of(True)), "alignment", ["a", "b"]) == {"alpha": 1.0, "same": 100.0}
    guessed = agreement(list(votes_of(False)), "alignment", ["a", "b"])
    assert abs(guessed["alpha"]) < 0.15 and abs(guessed["same"] - 50) < 10
    # Four sheets, one of them judged differently. Krippendorff's alpha of two values by hand: 1 - D_o / D_e with
    # D_o = 2 / 8 and D_e = 2 * 3 * 5 / (8 * 7): alpha = 1 - (1 / 4) / (30 / 56) = 8 / 15.
    table = [(1, 1), (1, 1), (2, 2), (1, 2)]
    votes = [vote(name, f"p{n}", rank, 3 - rank) for n, pair in enumerate(table) for name, rank in zip("xy", pair)]
    found = agreement(votes, "alignment", ["a", "b"])
    assert found["alpha"] == pytest.approx(8 / 15) and found["same"] == 75
    assert agreement([vote("x", "p", 1, 2)], "alignment", ["a", "b"]) == {"alpha": None, "same": None}


def served(study, steps, token=None):
    """Runs `steps(client)` against a StudyServer."""

    async def go():
        async with TestClient(TestServer(StudyServer(study, token).application())) as client:
            return await steps(client)

    return asyncio.run(go())


def test_every_vote_is_on_disk_with_what_was_shown_where(study, runs, tmp_path):
    async def steps(client):
        shown = await (await client.post("/next", json={"rater": "ann"})).json()
        while shown["sheet"]:
            sheet = shown["sheet"]
            body = {"rater": "ann", "sheet": sheet, "alignment": [2, 1, 3], "aesthetics": [1, 1, 1], "seconds": 2.5}
            before = len(study.votes.read())
            shown = await (await client.post("/vote", json=body)).json()
            assert len(study.votes.read()) == before + 1
            again = await (await client.post("/vote", json=body)).json()
            assert again == shown and len(study.votes.read()) == before + 1
        return shown

    assert served(study, steps) == {"done": 4, "all": 4, "sheet": None}
    for line in study.votes.read():
        assert sorted(line["shown"]) == ["base", "ella", "other"]
        assert [line["alignment"][label] for label in line["shown"]] == [2, 1, 3]
        assert set(line["aesthetics"].values()) == {1} and line["rater"] == "ann"

    async def resumed(client):
        other = await (await client.post("/next", json={"rater": "ben"})).json()
        return (await (await client.post("/next", json={"rater": "ann"})).json(), other["done"])

    study = StudyFolder(tmp_path / "study", runs, 4, 0)
    assert served(study, resumed) == ({"done": 4, "all": 4, "sheet": None}, 0)


def test_pictures_come_in_the_shuffled_order_and_without_the_workflow(tmp_path):
    runs = [drawn_run(tmp_path / "empty", lambda scene, index: {})]
    runs.append(drawn_run(tmp_path / "right", lambda scene, index: scene))
    for run in runs:  # as ComfyUI saves them: with the workflow inside
        for prompt_id, index in run.wanted():
            with Image.open(run.picture_path(prompt_id, index)) as picture:
                notes = PngInfo()
                notes.add_text("prompt", json.dumps({"secret": run.path.name}))
                data = io.BytesIO()
                picture.save(data, "PNG", pnginfo=notes)
            run.add_picture(prompt_id, index, data.getvalue(), 7)
    study = StudyFolder(tmp_path / "study", runs, 3, 0)

    async def steps(client):
        found = []
        for sheet in study.sheets:
            for place, label in enumerate(labels_for(sheet, study.labels, "ann", 0)):
                query = {"rater": "ann", "sheet": sheet.id, "place": str(place)}
                response = await client.get("/picture", params=query)
                data = await response.read()
                assert b"secret" not in data and label not in str(response.headers)
                wanted = study.labels[label].read_picture(sheet.prompt, *sheet.indices)
                found.append(Image.open(io.BytesIO(data)).convert("RGB").tobytes() == wanted.tobytes())
        assert (await client.get("/picture", params={**query, "place": "2"})).status == 404
        return found

    assert served(study, steps) == [True] * 6


def test_several_pictures_of_a_run_stand_together():
    reds = [Image.new("RGB", (20, 10), (200 + number, 0, 0)) for number in range(3)]
    sheet = in_one(reds)
    assert sheet.size == (48, 28) and in_one(reds[:1]) is reds[0]
    assert [sheet.getpixel(at)[0] for at in ((0, 0), (28, 0), (0, 18), (24, 5), (40, 25))] == [200, 201, 202, 85, 85]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"rater": "", "sheet": "x"}, "A rater has a name"),
        ({"rater": "ann", "sheet": "nowhere/0"}, "not of this study"),
        ({"rater": "ann", "alignment": [1, 2]}, "ranks each picture"),
        ({"rater": "ann", "alignment": [2, 3, 3]}, "from 1 for the best"),
        ({"rater": "ann", "alignment": [1, 2, 9]}, "ranks each picture"),
        ([], "no JSON object"),
    ],
)
def test_a_wrong_vote_is_refused_in_a_sentence_and_not_kept(study, body, said):
    async def steps(client):
        if isinstance(body, dict):
            body.setdefault("sheet", study.sheets[0].id)
            body.setdefault("aesthetics", [1, 2, 3])
        response = await client.post("/vote", json=body)
        return response.status, await response.text()

    status, text = served(study, steps)
    assert status == 400 and said in text and study.votes.read() == []


def test_a_full_disk_is_told_and_the_vote_can_be_sent_again(study):
    async def steps(client):
        study.votes.path.mkdir()  # so that the file can't be written
        body = {"rater": "ann", "sheet": study.sheets[0].id, "alignment": [1, 2, 3], "aesthetics": [1, 2, 3]}
        failed = await client.post("/vote", json=body)
        said = await failed.text()
        study.votes.path.rmdir()
        return failed.status, said, (await client.post("/vote", json=body)).status

    status, said, after = served(study, steps)
    assert status == 507 and "can't be written" in said and after == 200 and len(study.votes.read()) == 1


def test_a_page_of_another_site_can_neither_read_nor_vote(study):
    async def steps(client):
        strange = await client.get("/", headers={"Host": "evil.example:8190"})
        form = await client.post("/vote", data={"rater": "ann"})
        return strange.status, form.status

    assert served(study, steps) == (403, 415)


def test_beyond_this_machine_the_token_is_needed(study):
    async def steps(client):
        without = await client.get("/")
        wrong = await client.get("/?token=wrong")
        page = await client.get(f"/?token={study.token}")
        after = await client.post("/next", json={"rater": "ann"})  # by the cookie
        return without.status, wrong.status, page.status, after.status

    assert served(study, steps, study.token) == (403, 403, 200, 200)
    assert len(study.token) > 20
    assert [is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "0.0.0.0", "192.168.1.2", "evil")] == [
        True, True, True, False, False, False,
    ]  # fmt: skip


def test_the_command_prints_the_results(study, runs, tmp_path, capsys):
    ranks = {"alignment": {"base": 1, "ella": 2, "other": 3}, "aesthetics": {"base": 1, "ella": 1, "other": 1}}
    study.votes.append({"rater": "ann", "prompt": "scene_1", "indices": [0], **ranks})
    paths = [str(run.path) for run in runs]
    assert main(["study", *paths, "--prompts", "4", "--out", str(tmp_path / "study"), "--results"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["alignment"]["first"]["base"]["rate"] == 100
    assert "base above ella: 100.0 %" in printed.err and "1 votes of 1 raters" in printed.err
    assert main(["study", paths[0], "--results"]) == 1
    assert "a study compares two or three" in capsys.readouterr().err
