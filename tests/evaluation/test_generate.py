"""python -m evaluation generate against real ComfyUI servers, killed, refused, resumed."""

import importlib.util
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

from evaluation.run_folder import RunFolder
from scripts.comfyui_server import MAIN

REPO = Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("sleeping_sampler", Path(__file__).with_name("sleeping_sampler.py"))
sleeping_sampler = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sleeping_sampler)


@pytest.fixture
def ask(tmp_path, evaluation, graph, server):
    """A function: prompts, options of the command -> its result; the run is tmp_path/run."""

    def ask(prompts, *arguments, changes=None, servers=None, **options):
        (tmp_path / "prompts.json").write_text(json.dumps(prompts))
        (tmp_path / "workflow.json").write_text(json.dumps(graph(**changes or {})))
        command = ["generate", "--suite", "custom", "--data", tmp_path / "prompts.json", "--out", tmp_path / "run"]
        command += ["--workflow", tmp_path / "workflow.json", "--servers", servers or server.address]
        return evaluation(*command, *arguments, **options)

    return ask


@pytest.fixture
def folder(tmp_path):
    return lambda: RunFolder(tmp_path / "run")


def drawn_on(server):
    """How many pictures a server has saved."""
    return len(list((server.base / "output").glob("*.png")))


def check(run, batch=1):
    """Every picture is there once, and of its own prompt and seed."""
    lines = run.manifest.read()
    keys = [(line["prompt"], line["index"]) for line in lines]
    assert sorted(keys) == sorted(run.wanted()) and len(set(keys)) == len(keys)
    assert run.missing(verify=True) == []
    texts = {prompt.id: prompt.text for prompt in run.suite.prompts}
    for line in lines:
        place = line["index"] % batch
        assert line["seed"] == run.settings["seed"] + line["index"] - place
        picture = run.read_picture(line["prompt"], line["index"])
        text = texts[line["prompt"]].replace("(", "\\(").replace(")", "\\)")
        expected = sleeping_sampler.colour(text, "blurry", line["seed"], place)
        assert list(picture.getpixel((3, 3))) == expected


def test_pictures_of_every_prompt_and_seed(ask, folder, server):
    before = drawn_on(server)
    result = ask({"a": "a cat", "b": 'two "dogs" {big|small} (old)'}, "--images", 3, "--seed", 40)
    assert result.returncode == 0, result.stderr
    assert "all 6 pictures of 2 prompts" in result.stderr and "pictures/s" in result.stderr
    run = folder()
    check(run)
    assert drawn_on(server) == before + 6
    with Image.open(run.picture_path("b", 2)) as picture:  # the server's own file, with its metadata
        made_of = json.loads(picture.info["prompt"])
    assert made_of["1"]["inputs"]["text"] == 'two "dogs" {big|small} \\(old\\)' and made_of["4"]["inputs"]["seed"] == 42
    assert run.picture_path("b", 2).read_bytes() in [
        file.read_bytes() for file in (server.base / "output").glob("*.png")
    ]
    assert run.settings["roles"] == {
        "prompt": [["1", "text"]],
        "seed": [["4", "seed"]],
        "batch": [["3", "batch_size"]],
        "save": "6",
    }


def test_missing_and_damaged_pictures_are_drawn_again_from_the_folder_alone(ask, folder, server, evaluation, tmp_path):
    assert ask({"a": "one", "b": "two"}, "--images", 2).returncode == 0
    run = folder()
    run.picture_path("a", 1).unlink()
    run.picture_path("b", 0).write_bytes(b"damaged")
    lines = len(run.manifest.read())
    result = evaluation("generate", "--out", tmp_path / "run", "--servers", server.address)
    assert result.returncode == 0, result.stderr
    assert run.missing(verify=True) == [] and len(run.manifest.read()) == lines + 2
    again = evaluation("generate", "--out", tmp_path / "run", "--servers", "http://127.0.0.1:9")  # nothing left to draw
    assert again.returncode == 0 and len(run.manifest.read()) == lines + 2


def test_files_that_the_server_lost_are_drawn_again(ask, folder, server):
    assert ask({"a": "lost file"}, "--images", 1).returncode == 0
    for file in (server.base / "output").glob("*.png"):
        file.unlink()
    folder().picture_path("a", 0).unlink()
    result = ask({"a": "lost file"}, "--images", 1)
    assert result.returncode == 0, result.stderr
    assert folder().missing(verify=True) == []


def test_batches(ask, folder):
    assert ask({"a": "a cat"}, "--images", 5, "--batch", 2).returncode == 0
    check(folder(), batch=2)


def test_another_question_to_the_same_folder(ask, folder):
    assert ask({"a": "a cat"}, "--images", 1).returncode == 0
    for arguments, words in (
        (["--images", 2], "another images"),
        (["--images", 1, "--seed", 2], "another seed"),
        (["--images", 1, "--limit", 1], ""),
        (["--prompt-node", 2], "another prompt_node"),
        (["--no-escape"], "another escape"),
    ):
        result = ask({"a": "a cat"}, *arguments)
        assert result.returncode == (1 if words else 0) and words in result.stderr
    assert "another prompts and questions" in ask({"a": "a dog"}, "--images", 1).stderr
    assert "another workflow_sha256" in ask({"a": "a cat"}, changes={"n4_seconds": 0.1}).stderr
    check(folder())


@pytest.mark.parametrize(
    ("changes", "arguments", "words"),
    [
        ({"n3_width": -4}, [], "refuses the workflow: node 3 (EmptyLatentImage): Value -4 smaller than min"),
        ({"n6_images": ["4", 0]}, [], "refuses the workflow: node 6 (SaveImage): Return type mismatch"),
        ({}, ["--prompt-node", "9"], "--prompt-node 9 is not in the workflow; the candidates are 1 (WriteText)"),
        ({"n4_latent_image": ["3", 0]}, ["--images", "0"], "--images is 0"),
        ({}, ["--servers", "127.0.0.1:8188"], "begins with http://"),
        ({}, ["--servers", "http://127.0.0.1:9"], "no ComfyUI answers at http://127.0.0.1:9"),
    ],
)
def test_what_can_t_be_drawn_is_one_sentence(ask, tmp_path, changes, arguments, words):
    result = ask({"a": "a cat"}, *arguments, changes=changes)
    assert result.returncode in (1, 2) and words in " ".join(result.stderr.split()), result.stderr
    assert "Traceback" not in result.stderr


def test_a_prompt_that_fails_loses_no_other(ask, folder):
    result = ask({"a": "a cat", "f": "fails", "b": "a dog"}, "--images", 1)
    assert result.returncode == 1, result.stderr
    assert "picture 0 of f failed 3 times" in result.stderr and "node 4 (SleepingSampler): this prompt" in result.stderr
    assert set(folder().pictures()) == {("a", 0), ("b", 0)}


def test_a_workflow_that_always_fails_is_not_tried_with_every_prompt(ask):
    result = ask({f"p{n:02d}": "fails" for n in range(50)}, "--images", 1)
    assert result.returncode == 1 and "the last 6 tries failed" in result.stderr, result.stderr
    assert result.stderr.count("it is tried again in the end") == 5


def test_a_server_that_never_answered_is_told_and_does_no_harm(ask, folder, server):
    result = ask({"a": "a cat"}, servers=f"http://127.0.0.1:9,{server.address}/")
    assert result.returncode == 0 and "http://127.0.0.1:9 does not answer" in result.stderr
    check(folder())


def test_a_full_disk_stops_and_resumes(ask, folder):
    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))

    result = ask({f"p{n}": f"picture {n}" for n in range(12)}, "--images", 2, preexec_fn=limit)
    assert result.returncode == 1 and "manifest.jsonl can't be written" in result.stderr, result.stderr
    assert 0 < len(folder().pictures()) < 24
    assert ask({f"p{n}": f"picture {n}" for n in range(12)}, "--images", 2).returncode == 0
    check(folder())


# ---- kills


def until(condition, seconds=300):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.02)


def again(server, comfyui):
    """Starts a killed server once more, at its old address."""
    port = server.address.rpartition(":")[2]
    flags = ["--port", port, "--cpu", "--disable-api-nodes", "--database-url", "sqlite:///:memory:"]
    command = [sys.executable, "-c", MAIN, "main.py", *flags, "--base-directory", str(server.base)]
    log = open(server.base / "again.log", "wb")
    return subprocess.Popen(command, cwd=comfyui, stdin=subprocess.PIPE, stdout=log, stderr=log)


def seeds_drawn_on(server):
    """(prompt, seed) of every picture that a server saved."""
    found = []
    for file in (server.base / "output").glob("*.png"):
        with Image.open(file) as picture:
            graph = json.loads(picture.info["prompt"])
        found.append((graph["1"]["inputs"]["text"], graph["4"]["inputs"]["seed"]))
    return found


@pytest.fixture
def generator(tmp_path, graph):
    """A function: prompts, seconds of each picture, servers -> the running command; resumes without prompts."""

    def start(*servers, prompts=None, seconds=0, queue=2):
        command = [
            sys.executable,
            "-m",
            "evaluation",
            "generate",
            "--out",
            tmp_path / "run",
            "--servers",
            ",".join(servers),
        ]
        command += ["--queue", queue]
        if prompts is not None:
            (tmp_path / "prompts.json").write_text(json.dumps(prompts))
            (tmp_path / "workflow.json").write_text(json.dumps(graph(n4_seconds=seconds)))
            command += [
                "--suite",
                "custom",
                "--data",
                tmp_path / "prompts.json",
                "--workflow",
                tmp_path / "workflow.json",
            ]
        return subprocess.Popen(list(map(str, command)), cwd=REPO, stderr=subprocess.PIPE, text=True)

    return start


def test_kill_9_of_a_server_and_of_the_generator(generator, folder, server, servers, tmp_path, comfyui):
    prompts = {f"p{n:02d}": f"picture {n} of a long run" for n in range(30)}
    manifest = tmp_path / "run/manifest.jsonl"

    def servers_since(line):
        lines = manifest.read_bytes().split(b"\n")[line:-1] if manifest.exists() else []
        return [json.loads(line)["server"] for line in lines]

    _, second = servers
    both = (server.address, second.address)
    first_try = generator(*both, prompts=prompts, seconds=0.05)
    until(lambda: len(servers_since(0)) > 20 and set(servers_since(0)) == set(both))
    os.kill(second.process.pid, signal.SIGKILL)
    second.process.wait()
    killed_at = len(servers_since(0))
    until(lambda: len(servers_since(killed_at)) > 10)  # what it had goes elsewhere
    hold = server.base / "output" / sleeping_sampler.HOLD
    hold.touch()  # so that the rest is not drawn before it is back
    restarted = again(second, comfyui)
    try:
        until(lambda: second.address in servers_since(killed_at + 5))
        os.kill(first_try.pid, signal.SIGKILL)
        hold.unlink()
        messages = first_try.communicate()[1]
        assert f"{second.address} is lost" in messages and f"{second.address} answers again" in messages
        assert len(servers_since(0)) < len(prompts) * 4
        second_try = generator(*both)
        assert second_try.wait(timeout=300) == 0
    finally:
        hold.unlink(missing_ok=True)
        restarted.kill()
        restarted.wait()
    check(folder())
    # What the first try had queued on the server that lived was not drawn twice.
    ours = [one for one in seeds_drawn_on(server) if one[0] in prompts.values()]
    assert len(ours) == len(set(ours))


def test_two_processes_and_a_stop(generator, folder, server, evaluation, tmp_path):
    before = drawn_on(server)
    prompts = {f"p{n:03d}": f"stopped {n}" for n in range(400)}
    first = generator(server.address, prompts=prompts, seconds=0.1, queue=12)
    until(lambda: (tmp_path / "run/manifest.jsonl").exists())
    second = evaluation("generate", "--out", tmp_path / "run", "--servers", server.address)
    assert second.returncode == 1 and "another process is writing manifest" in second.stderr
    first.send_signal(signal.SIGINT)
    assert first.wait(timeout=120) == 130 and "the same command goes on from here" in first.stderr.read()
    lines = folder().manifest.read()
    assert 0 < len({(line["prompt"], line["index"]) for line in lines}) == len(lines) < 400
    until(lambda: server.get("/queue")["queue_running"] == [])
    # What was not begun was taken back: of twelve queued, one was being drawn, and one may have been on its way.
    assert server.get("/queue")["queue_pending"] == [] and drawn_on(server) - before <= len(lines) + 3
