"""The small world as a suite and a judge of `python -m evaluation`, through its commands."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from evaluation.run_folder import RunFolder
from evaluation.suites import load_suite
from small_world.measure import asked
from small_world.question_suite import judge_run, write_questions
from small_world.scenes import draw

REPO = Path(__file__).resolve().parents[2]


def command(*arguments):
    return subprocess.run([sys.executable, "-m", *arguments], cwd=REPO, capture_output=True, text=True)


@pytest.mark.parametrize("shift", [0, 1])
def test_drawn_scenes_score_100_and_those_of_other_prompts_far_less(tmp_path, shift):
    prompts = asked(24)
    write_questions(tmp_path / "questions.csv", prompts)
    suite = load_suite("custom", tmp_path / "questions.csv")
    run = RunFolder.create(tmp_path / "run", {"images": 1, "seed": 1}, suite)
    for place, one in enumerate(prompts):
        data = io.BytesIO()
        draw(prompts[(place + shift) % len(prompts)].scene).save(data, "png")
        run.add_picture(f"scene-{one.number}", 0, data.getvalue(), 1)
    judge_run(tmp_path / "run")
    result = command("evaluation", "score", str(tmp_path / "run"), "--rule", "corrected")
    assert result.returncode == 0, result.stderr
    overall = json.loads(result.stdout)["overall"]
    assert overall == 100 if shift == 0 else overall < 30


def test_the_commands_write_questions_and_say_what_a_judge_needs(tmp_path):
    result = command("small_world", "questions", "--out", str(tmp_path / "questions.csv"), "--prompts", "6")
    assert result.returncode == 0, result.stderr
    assert len(load_suite("custom", tmp_path / "questions.csv").prompts) == 6
    result = command("small_world", "judge", str(tmp_path))
    assert result.returncode == 1 and "holds no run.json" in result.stderr and "Traceback" not in result.stderr
