"""The folder of a run: what a kill, a full disk, a second process and damaged files do to it."""

import io
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from evaluation.errors import EvaluationError
from evaluation.line_file import LineFile
from evaluation.run_folder import RunFolder
from evaluation.suites.suite import Prompt, Question, Suite

REPO = Path(__file__).resolve().parents[2]

SUITE = Suite(
    name="small",
    rule="graph",
    prompts=(
        Prompt(
            "a", "A cat beside a lamp \u2603", (Question(1, "A cat?"), Question(2, "A lamp?", (1,), "entity - whole"))
        ),
        Prompt("b", "Two dogs", (Question(1, "How many dogs?", kind="number", expected="two", details={"n": [2]}),)),
    ),
    remarks=("made up",),
)
SETTINGS = {"suite": "small", "images": 2, "seed": 7}


def png(color="red"):
    file = io.BytesIO()
    Image.new("RGB", (4, 4), color).save(file, "PNG")
    return file.getvalue()


def in_python(code, *arguments, **options):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


@pytest.fixture
def run(tmp_path):
    return RunFolder.create(tmp_path / "run", SETTINGS, SUITE)


def test_a_run_is_read_back(run):
    again = RunFolder(run.path)
    assert again.settings == SETTINGS and again.suite == SUITE
    assert again.wanted() == again.missing() == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]


def test_pictures_are_kept_byte_for_byte(run):
    run.add_picture("a", 1, png(), 8, "http://server")
    assert run.picture_path("a", 1) == run.path / "pictures/a/1.png"
    assert run.picture_path("a", 1).read_bytes() == png()
    assert run.read_picture("a", 1).getpixel((0, 0)) == (255, 0, 0)
    assert run.missing() == [("a", 0), ("b", 0), ("b", 1)]
    (line,) = run.manifest.read()
    assert set(line) == {"prompt", "index", "seed", "server", "sha256"} and line["seed"] == 8


def test_missing_and_damaged_pictures_are_named_and_made_again(run):
    for key in run.wanted():
        run.add_picture(*key, png(), 7)
    run.picture_path("a", 0).unlink()
    run.picture_path("b", 1).write_bytes(png()[:40])
    assert run.missing() == [("a", 0)] and run.missing(verify=True) == [("a", 0), ("b", 1)]
    with pytest.raises(EvaluationError, match="0.png is missing"):
        run.read_picture("a", 0)
    with pytest.raises(EvaluationError, match="1.png is damaged"):
        run.read_picture("b", 1)
    run.add_picture("b", 1, png("blue"), 7)
    assert run.missing(verify=True) == [("a", 0)]


def test_other_settings_are_refused_by_name(run):
    with pytest.raises(EvaluationError, match="another seed"):
        RunFolder.create(run.path, {**SETTINGS, "seed": 8}, SUITE)
    other = Suite("small", SUITE.prompts[:1], "graph")
    with pytest.raises(EvaluationError, match="another prompts and questions"):
        RunFolder.create(run.path, SETTINGS, other)
    assert RunFolder.create(run.path, SETTINGS, SUITE).settings == SETTINGS


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(EvaluationError, match="holds no run.json"):
        RunFolder(tmp_path)
    (tmp_path / "holiday.png").write_bytes(png())
    with pytest.raises(EvaluationError, match="new or an empty folder"):
        RunFolder.create(tmp_path, SETTINGS, SUITE)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.png"]


def test_a_run_that_was_killed_before_it_began(run):
    (run.path / "run.json").rename(run.path / "run.json.part")
    (run.path / "suite.json").write_text("{")
    assert RunFolder.create(run.path, SETTINGS, SUITE).suite == SUITE


def test_another_judge_under_the_same_name_is_refused(run):
    run.keep_judge_settings("vlm", {"model": "m", "token_ids": (1, 2)})
    run.keep_judge_settings("vlm", {"model": "m", "token_ids": (1, 2)})
    with pytest.raises(EvaluationError, match="another token_ids"):
        run.keep_judge_settings("vlm", {"model": "m", "token_ids": (1, 3)})
    run.answers("vlm").append({"prompt": "a", "index": 0, "question": 1, "answer": "yes", "p_yes": 0.9})
    assert run.judges() == ["vlm"] and run.judge_settings("vlm")["model"] == "m" and run.judge_settings("clip") == {}


def test_half_a_line_is_dropped_and_cut_off(tmp_path):
    path = tmp_path / "lines.jsonl"
    LineFile(path).append({"n": 1}, {"n": 2})
    with open(path, "ab") as file:
        file.write(b'{"n": 3')
    assert LineFile(path).read() == [{"n": 1}, {"n": 2}]
    LineFile(path).append({"n": 4})
    assert path.read_bytes() == b'{"n": 1}\n{"n": 2}\n{"n": 4}\n'


def test_half_of_the_first_line_and_a_long_one(tmp_path):
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b'{"n": 3')
    LineFile(path).append({"text": "x" * 200_000})
    with open(path, "ab") as file:
        file.write(b"y" * 150_000)
    LineFile(path).append({"n": 4})
    assert [len(str(record)) for record in LineFile(path).read()] == [200_012, 8]


def test_a_damaged_line_in_the_middle_is_named(tmp_path):
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b'{"n": 1}\nnonsense\n{"n": 2}\n')
    with pytest.raises(EvaluationError, match="line 2 of .*lines.jsonl"):
        LineFile(path).read()


FILL = """
import signal, sys
from evaluation.errors import EvaluationError
from evaluation.run_folder import RunFolder
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
run = RunFolder(sys.argv[1])
try:
    if sys.argv[2] == "lines":
        for n in range(10**6):
            run.manifest.append({"n": n})
    else:
        run.add_picture("a", 0, b"x" * 10000, 7)
except EvaluationError as error:
    print(error)
"""


@pytest.mark.parametrize("what", ["lines", "picture"])
def test_a_full_disk_leaves_nothing_half_written(run, what):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1003, 1003))

    output, errors = in_python(FILL, run.path, what, preexec_fn=limit).communicate(timeout=60)
    assert "can't be written" in output and "run the same command again" in output, errors
    if what == "lines":
        assert [record["n"] for record in run.manifest.read()] == list(range(len(run.manifest.read())))
        assert run.manifest.path.read_bytes().endswith(b"}\n") and run.manifest.path.stat().st_size > 980
    else:
        assert list(run.path.glob("pictures/**/*.p*")) == [] and run.missing() == run.wanted()


HOLD = """
import sys, time
from evaluation.run_folder import RunFolder
with RunFolder(sys.argv[1]).lock("manifest"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_until_the_first_is_gone(run):
    first = in_python(HOLD, run.path)
    try:
        assert first.stdout.readline() == "held\n"
        with run.lock("answers.vlm"):  # another file
            pass
        with pytest.raises(EvaluationError, match="another process is writing manifest"):
            with run.lock("manifest"):
                pass
    finally:
        os.kill(first.pid, signal.SIGKILL)
        first.communicate()
    with run.lock("manifest"):
        pass


APPEND = """
import sys
from evaluation.run_folder import RunFolder
run = RunFolder(sys.argv[1])
with run.lock("manifest"):
    for n in range(10**6):
        run.manifest.append({"n": n, "text": "x" * 5000})
        print(n, flush=True)
"""


def test_nothing_that_was_written_is_lost_to_a_kill(run):
    process = in_python(APPEND, run.path)
    for _ in range(20):
        last = process.stdout.readline()
    time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    rest = process.communicate()[0].split()
    written = [record["n"] for record in run.manifest.read()]
    acknowledged = int(rest[-1] if rest else last)
    assert written == list(range(len(written))) and len(written) in (acknowledged + 1, acknowledged + 2)


@pytest.mark.parametrize("bad", ["", "a/b", "..", "con:", "x" * 101, "dot.", ".hidden"])
def test_ids_that_can_t_name_a_folder(bad):
    with pytest.raises(EvaluationError, match="folder"):
        Suite("s", (Prompt(bad, "text"),), "graph")


def test_ids_that_are_there_twice():
    with pytest.raises(EvaluationError, match="two prompts have the id A"):
        Suite("s", (Prompt("a", "text"), Prompt("A", "text")), "graph")
    with pytest.raises(EvaluationError, match="a has two questions with the id 4"):
        Prompt("a", "text", (Question(1, "?"), Question(4, "?"), Question(4, "?")))
    with pytest.raises(EvaluationError, match="no prompt"):
        Suite("s", (), "graph")


def test_the_suite_survives_json():
    assert Suite.from_json(SUITE.to_json()) == SUITE
    assert json.loads(SUITE.to_json())["prompts"][0]["text"].endswith("\u2603")


def test_the_command_line_tells_its_commands():
    result = subprocess.run([sys.executable, "-m", "evaluation"], cwd=REPO, capture_output=True, text=True)
    assert result.returncode == 2
    for command in ("generate", "judge", "score", "report", "study"):
        assert f"\n  {command} " in result.stdout
