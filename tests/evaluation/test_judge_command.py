"""The command judge: resumed, on several processes, and with what can go wrong."""

import dataclasses
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny_models
from accelerate import PartialState
from drawn_runs import SCENES, SquareCounter, draw, drawn_run

from evaluation.__main__ import main
from evaluation.answering import answer_all
from evaluation.errors import EvaluationError
from evaluation.run_folder import RunFolder

REPO = Path(__file__).resolve().parents[2]
QUESTIONS = 2 * 2 * sum(len(scene) for scene in SCENES)  # of two pictures each


@pytest.fixture(scope="module")
def blip(tmp_path_factory):
    return tiny_models.make_blip(tmp_path_factory.mktemp("blip"))


@pytest.fixture
def run(tmp_path):
    return drawn_run(tmp_path / "run", lambda scene, index: scene)


def ask(run, judge=None, name="counter", batch_size=4):
    return answer_all(run, judge or SquareCounter(), name, batch_size, PartialState(cpu=True))


def command(run, blip, *more):
    return ["judge", str(run.path), "--judge", "blip-vqa", "--model", str(blip), "--device", "cpu", *more]


def test_every_question_of_every_picture_is_answered_once_in_the_order_of_the_suite(run):
    assert ask(run) == []
    lines = run.answers("counter").read()
    order = [(p.id, i, q.id) for p in run.suite.prompts for i in range(2) for q in p.questions]
    assert [(line["prompt"], line["index"], line["question"]) for line in lines] == order and len(order) == QUESTIONS
    assert {line["answer"] for line in lines} == {"yes"} and {line["p_yes"] for line in lines} == {1.0}
    assert run.judge_settings("counter")["judge"] == "square-counter"


def test_a_killed_judge_goes_on_with_what_lacks(run):
    ask(run)
    path = run.answers("counter").path
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:9]) + lines[9][:20])
    judge = SquareCounter()
    ask(RunFolder(run.path), judge)
    assert path.read_bytes() == whole
    assert judge.asked == QUESTIONS - 8  # in batches of four, of which the third was begun
    judge = SquareCounter()
    ask(run, judge)
    assert judge.asked == 0 and path.read_bytes() == whole


def test_a_second_process_is_sent_away_and_kill_9_loses_and_changes_nothing(tmp_path, blip):
    run = drawn_run(tmp_path / "killed", lambda scene, index: scene, images=8)
    more = ("--batch-size", "5")
    process = subprocess.Popen([sys.executable, "-m", "evaluation", *command(run, blip, *more)], cwd=REPO)
    while process.poll() is None and len(run.answers("blip-vqa").read()) < 20:
        time.sleep(0.02)
    with pytest.raises(EvaluationError, match="another process is writing answers.blip-vqa"):
        ask(run, name="blip-vqa")
    process.kill()
    assert process.wait() == -9  # it was not done yet
    kept = run.answers("blip-vqa").read()
    assert 20 <= len(kept) < 4 * QUESTIONS
    assert main(command(run, blip, *more)) == 0
    whole = run.answers("blip-vqa").path.read_bytes()
    assert [json.loads(line) for line in whole.splitlines()][: len(kept)] == kept
    run.answers("blip-vqa").path.unlink()
    assert main(command(run, blip, *more)) == 0
    assert run.answers("blip-vqa").path.read_bytes() == whole and len(whole.splitlines()) == 4 * QUESTIONS


def test_answers_of_a_killed_launch_are_gathered(run):
    ask(run)
    path = run.answers("counter").path
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    path.write_bytes(b"".join(lines[::2]))
    (run.path / "shard.counter.1.jsonl").write_bytes(b"".join(lines[1::2]) + b'{"prompt": "sce')
    judge = SquareCounter()
    ask(run, judge)
    assert judge.asked == 0 and path.read_bytes() == whole and not list(run.path.glob("shard.*"))


def test_two_processes_give_the_file_that_one_gives(run, blip, tmp_path):
    assert main(command(run, blip, "--batch-size", "3")) == 0
    path = run.answers("blip-vqa").path
    alone = path.read_bytes()
    assert len(alone.splitlines()) == QUESTIONS
    lines = alone.splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:7]))
    # Accelerate's own launcher starts one process on a CPU, whatever --num_processes says.
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    launch += ["--module", "evaluation"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(
        [*launch, *command(run, blip, "--batch-size", "3")], cwd=REPO, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert path.read_bytes() == alone and not list(run.path.glob("shard.*"))


def test_missing_and_damaged_pictures_are_named_and_all_others_judged(run):
    run.picture_path("scene_1", 0).unlink()
    damaged = run.picture_path("scene_3", 1)
    damaged.write_bytes(damaged.read_bytes()[:60])
    run.add_picture("scene_4", 0, b"as the server sent it, but no picture", 7)
    with pytest.raises(EvaluationError, match="3 pictures .* missing or damaged, the first is .*scene_1.0.png"):
        ask(run)
    answered = {(line["prompt"], line["index"]) for line in run.answers("counter").read()}
    assert answered == set(run.wanted()) - {("scene_1", 0), ("scene_3", 1), ("scene_4", 0)}
    for number, index in ((1, 0), (3, 1), (4, 0)):
        run.add_picture(f"scene_{number}", index, draw(SCENES[number]), 7)
    judge = SquareCounter()
    assert ask(run, judge) == [] and judge.asked < QUESTIONS and len(run.answers("counter").read()) == QUESTIONS


def test_a_full_disk_keeps_what_was_answered(run, blip):
    def small_files():
        resource.setrlimit(
            resource.RLIMIT_FSIZE, (1500, 1500)
        )  # no file may grow beyond; writes fail as on a full disk

    arguments = [sys.executable, "-m", "evaluation", *command(run, blip, "--batch-size", "2")]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    run.keep_judge_settings("blip-vqa", json.loads(settings_of(blip)))
    done = subprocess.run(arguments, cwd=REPO, env=environment, capture_output=True, text=True, preexec_fn=small_files)
    assert done.returncode == 1 and "can't be written" in done.stderr and "Traceback" not in done.stderr
    kept = run.answers("blip-vqa").read()
    assert 0 < len(kept) < QUESTIONS
    assert main(command(run, blip, "--batch-size", "2")) == 0
    assert run.answers("blip-vqa").read()[: len(kept)] == kept and len(run.answers("blip-vqa").read()) == QUESTIONS


def settings_of(blip):
    from evaluation.judge import Options, load_judge

    judge = load_judge(Options(run=None, judge="blip-vqa", model=blip), "cpu")
    return json.dumps(dataclasses.asdict(judge.identity))


class Painter(SquareCounter):
    """Says a colour instead of yes or no, from its `first` answer on."""

    def __init__(self, first):
        super().__init__()
        self.first = first

    def answer(self, pictures, questions):
        before = self.asked
        answers = super().answer(pictures, questions)
        return [("purple", 0.5) if before + n >= self.first else answer for n, answer in enumerate(answers)]


def test_answers_that_are_neither_yes_nor_no_are_counted_and_kept(run):
    (remark,) = ask(run, Painter(QUESTIONS - 2))
    assert remark.startswith(f"2 of {QUESTIONS} answers are neither yes nor no, the first is 'purple' to question 5")
    assert [line["answer"] for line in run.answers("counter").read()][-3:] == ["yes", "purple", "purple"]


def test_a_judge_that_never_says_yes_or_no_is_stopped(tmp_path):
    run = drawn_run(tmp_path / "run", lambda scene, index: scene, images=4)
    with pytest.raises(EvaluationError, match="neither yes nor no: 'purple' to 'Are there exactly"):
        ask(run, Painter(0))


def test_another_model_under_the_same_name_is_refused(run, blip, tmp_path, capsys):
    assert main(command(run, blip)) == 0
    kept = run.answers("blip-vqa").path.read_bytes()
    other = tiny_models.make_blip(tmp_path / "other", seed=1)
    assert main(command(run, other)) == 1
    assert "came from another fingerprint and model" in capsys.readouterr().err
    assert run.answers("blip-vqa").path.read_bytes() == kept
    assert main(command(run, other, "--name", "blip-of-mine")) == 0 and run.judges() == ["blip-of-mine", "blip-vqa"]


def test_a_judge_of_another_kind_of_question_is_refused(run, tmp_path, capsys):
    clip = tiny_models.make_clip(tmp_path / "clip")
    assert main(["judge", str(run.path), "--judge", "clip", "--model", str(clip), "--device", "cpu"]) == 1
    assert "clip answers questions of the kind match, but custom has yes_no" in capsys.readouterr().err


def test_a_name_that_is_no_part_of_a_file_name_is_refused(run):
    with pytest.raises(EvaluationError, match="can't be part of a file's name"):
        ask(run, name="a/b")
