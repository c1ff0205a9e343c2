"""python -m evaluation generate on real ComfyUI servers with a sampler that sleeps, so that cores don't decide.

    python benchmarks/evaluation_servers.py --host COMFYUI --rate        pictures a second on one server and on two
    python benchmarks/evaluation_servers.py --host COMFYUI --kill 1065   so many prompts, four pictures each

The second kills (-9) one of two servers at a third of the way and starts it again, kills the command at two thirds,
resumes it, and counts what is there.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))

from scripts.comfyui_server import MAIN, make_base, started  # noqa: E402

GRAPH = {
    "1": {"class_type": "WriteText", "inputs": {"text": ""}},
    "2": {"class_type": "EmptyLatentImage", "inputs": {"width": 16, "height": 16, "batch_size": 1}},
    "3": {
        "class_type": "SleepingSampler",
        "inputs": {"seed": 0, "positive": ["1", 0], "negative": ["1", 0], "latent_image": ["2", 0]},
    },
    "4": {"class_type": "DrawColour", "inputs": {"samples": ["3", 0]}},
    "5": {"class_type": "SaveImage", "inputs": {"images": ["4", 0], "filename_prefix": "drawn"}},
}


def generate(folder, servers, prompts=None, seconds=0.0, name="run"):
    """Starts the command; without prompts it resumes."""
    command = [sys.executable, "-m", "evaluation", "generate", "--out", folder / name, "--servers", ",".join(servers)]
    if prompts is not None:
        graph = json.loads(json.dumps(GRAPH))
        graph["3"]["inputs"]["seconds"] = seconds
        (folder / "workflow.json").write_text(json.dumps(graph))
        (folder / "prompts.json").write_text(json.dumps({f"p{n:04d}": f"prompt {n}" for n in range(prompts)}))
        command += ["--suite", "custom", "--data", folder / "prompts.json", "--workflow", folder / "workflow.json"]
    return subprocess.Popen([str(part) for part in command], cwd=REPO)


def lines(folder, name="run"):
    manifest = folder / name / "manifest.jsonl"
    return [json.loads(line) for line in manifest.read_bytes().split(b"\n")[:-1]] if manifest.exists() else []


def rate(folder, servers, prompts, seconds):
    """Pictures a second of a whole run, from its first picture to its last."""
    for number in (1, 2, 1, 2):
        name = f"rate{number}-{time.monotonic_ns()}"
        process = generate(folder, [server.address for server in servers[:number]], prompts, seconds, name)
        while not lines(folder, name):
            time.sleep(0.01)
        begin = time.monotonic()
        process.wait()
        print(
            f"{number} servers: {(len(lines(folder, name)) - 1) / (time.monotonic() - begin):.2f} pictures/s",
            flush=True,
        )


def kill(folder, servers, comfyui, prompts, seconds):
    """The run under kill -9, and what is there after it."""
    addresses, second = [server.address for server in servers], servers[1]
    begin = time.monotonic()
    process = generate(folder, addresses, prompts, seconds)
    while len(lines(folder)) < prompts * 4 / 3:
        time.sleep(0.5)
    os.kill(second.process.pid, signal.SIGKILL)
    second.process.wait()
    flags = [
        "--port",
        second.address.rpartition(":")[2],
        "--cpu",
        "--disable-api-nodes",
        "--base-directory",
        second.base,
    ]
    flags += ["--database-url", "sqlite:///:memory:"]
    command = [sys.executable, "-c", MAIN, "main.py", *map(str, flags)]
    with open(second.base / "again.log", "wb") as log:
        restarted = subprocess.Popen(command, cwd=comfyui, stdin=subprocess.PIPE, stdout=log, stderr=log)
    try:
        while len(lines(folder)) < prompts * 8 / 3:
            time.sleep(0.5)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        at_the_kill = len(lines(folder))
        status = generate(folder, addresses).wait()
    finally:
        restarted.kill()
        restarted.wait()
    found = lines(folder)
    keys = {(line["prompt"], line["index"]) for line in found}
    files = list((folder / "run/pictures").glob("*/*.png"))
    saved = [len(list((server.base / "output").glob("*.png"))) for server in servers]
    print(
        f"exit status {status} after {time.monotonic() - begin:.0f} s; {at_the_kill} lines when the command was killed"
        f", {len(found)} in the end on {len(keys)} pictures, {len(files)} files; by server "
        f"{dict(Counter(line['server'] for line in found))}; the servers saved {saved}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", type=Path, required=True, help="the folder of a ComfyUI")
    parser.add_argument("--rate", action="store_true")
    parser.add_argument("--kill", type=int, metavar="PROMPTS")
    parser.add_argument("--seconds", type=float, default=0.5, help="how long the sampler sleeps")
    options = parser.parse_args()
    with ExitStack() as stack, ThreadPoolExecutor() as threads:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        bases = [folder / "one", folder / "two"]
        for base in bases:
            nodes = REPO / "tests/evaluation/sleeping_sampler.py"
            make_base(base, options.host, {"sleeping_sampler.py": nodes})
        servers = list(
            threads.map(
                lambda base: stack.enter_context(started(options.host, "--cpu", "--disable-api-nodes", base=base)),
                bases,
            )
        )
        if options.rate:
            rate(folder, servers, 15, options.seconds)
        if options.kill:
            kill(folder, servers, options.host, options.kill, options.seconds)


if __name__ == "__main__":
    main()
