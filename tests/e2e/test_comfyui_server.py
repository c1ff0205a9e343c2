"""scripts/comfyui_server.py against real servers: what it brings back, and what it says where something fails."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from comfyui_server import ComfyUIServer, ServerError, make_base, saved_files, started

COMFYUI = os.environ["COMFYUI"]
SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def load_and_save(image):
    return {
        "1": {"class_type": "LoadImage", "inputs": {"image": image}},
        "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}, "_meta": {"title": "What was loaded"}},
    }


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "a picture.png"
    shutil.copy(Path(COMFYUI) / "input/example.png", path)
    return path


def test_a_picture_goes_in_and_comes_back(server, picture):
    from PIL import Image, ImageChops

    name = server.upload(picture, subfolder="mine")
    assert name == "mine/a picture.png"
    (saved,) = saved_files(server.run(load_and_save(name)))
    assert server.view(saved) == server.path_of(saved).read_bytes()
    with Image.open(picture) as sent, Image.open(server.path_of(saved)) as returned:
        assert ImageChops.difference(sent.convert("RGB"), returned.convert("RGB")).getbbox() is None


def test_a_run_is_followed_to_its_end(server, workflow):
    prompt = server.api_prompt(workflow("ELLA text to image.json"))
    (sampler,) = [number for number, node in prompt.items() if node["class_type"] == "KSampler"]
    prompt[sampler]["inputs"]["seed"] = time.time_ns() % 2**32  # nothing of it is cached
    messages = list(server.follow(prompt))
    steps = [data["value"] for kind, data in messages if kind == "progress" and data["node"] == sampler]
    assert steps[-2:] == [1, 2]
    assert messages[-1][0] == "execution_success"
    shown = {"outputs": {data["node"]: data["output"] for kind, data in messages if kind == "executed"}}
    assert server.picture(shown).is_file()


def test_what_the_server_refuses_is_a_sentence(server):
    prompt = load_and_save("absent.png")
    with pytest.raises(ServerError, match="^ComfyUI refused the workflow: LoadImage: Invalid image file: absent.png$"):
        server.run(prompt)
    with pytest.raises(ServerError, match="^ComfyUI refused the workflow: What was loaded: Required input is missing"):
        server.run({"2": prompt["2"] | {"inputs": {}}, "1": prompt["1"]})


def test_what_fails_in_a_run_is_a_sentence(server):
    """Between the check of the inputs and the run, the picture is broken."""
    broken = server.base / "input/broken.png"
    broken.write_bytes(b"no picture")
    for run in (server.run, lambda prompt: list(server.follow(prompt))):
        with pytest.raises(ServerError, match="^LoadImage: .*broken.png"):
            run(load_and_save("broken.png"))


def test_a_path_that_is_not_there_is_named(server):
    with pytest.raises(ServerError, match="^ComfyUI answered 404 to /models/nowhere: "):
        server.get("/models/nowhere")


def test_object_info_of_some_nodes(server):
    info = server.object_info("LoadELLA", "LoadImage")
    assert sorted(info) == ["LoadELLA", "LoadImage"]
    assert server.object_info()["LoadELLA"] == info["LoadELLA"]


def test_a_server_that_does_not_start_says_why(tmp_path):
    make_base(tmp_path / "base", COMFYUI)
    with pytest.raises(ServerError) as caught:
        with started(COMFYUI, "--no-such-flag", base=tmp_path / "base"):
            pass
    first, *log = str(caught.value).splitlines()
    assert first == "ComfyUI ended before it was ready."
    assert "unrecognized arguments: --no-such-flag" in log[-1]


def test_a_server_ends_with_its_block_and_with_the_process_that_started_it(tmp_path):
    make_base(tmp_path / "base", COMFYUI)
    code = f"""
import sys
sys.path.insert(0, {str(SCRIPTS)!r})
from comfyui_server import started
with started({COMFYUI!r}, "--cpu", "--disable-all-custom-nodes", base={str(tmp_path / "base")!r}) as server:
    print(server.address, flush=True)
    if sys.argv[1] == "stays":
        import time
        time.sleep(600)
"""
    for how in ("leaves", "stays"):
        owner = subprocess.Popen([sys.executable, "-c", code, how], stdout=subprocess.PIPE, text=True)
        server = ComfyUIServer(owner.stdout.readline().strip())
        if how == "stays":
            server.get("/queue")
            owner.kill()  # no clean-up of its own can run
        owner.wait()
        for _ in range(50):
            try:
                server.get("/queue")
            except ServerError as error:
                assert str(error).startswith(f"ComfyUI at {server.address} does not answer")
                break
            time.sleep(0.1)
        else:
            pytest.fail(f"the server outlived the process that {how}")
