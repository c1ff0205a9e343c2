"""The stored small world through the template, in a real server: what it draws is judged against the own encoder's."""

import json
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import comfyui_server
import demo
import demo_small_world
import pytest
from PIL import Image

from small_world.judge import shapes_in
from small_world.prompt_reader import read_prompt

REPO = Path(__file__).resolve().parents[2]
LANGUAGE_MODELS = REPO / ".host/packages"  # where the unit tests keep them
PROMPTS = (
    demo_small_world.PROMPT,
    "The picture shows four shapes on a plain white ground. On the left there is a large red circle. On the right, a "
    "large blue square is drawn with crisp edges. You can see two small green triangles in the top row.",
    "On the left there is a small red circle. In the upper right, a large purple triangle is drawn with crisp edges. "
    "You can see a small green square at the bottom. The light is even and nothing casts a shadow.",
    "This is a simple drawing of four shapes on white paper. A large black cross lies in the middle. You can see two "
    "small blue circles in the top row. At the bottom there is a large yellow triangle.",
    "A small blue triangle, flat and evenly painted, is placed in the lower left. On the right there is a large green "
    "cross. At the top there is a small black square. The rest of the sheet is left empty.",
)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder of models, made as the demo makes it."""
    folder = tmp_path_factory.mktemp("small_world") / "models"
    if (LANGUAGE_MODELS / "minilm").is_dir():
        (folder / "ella_encoder").mkdir(parents=True)
        (folder / "ella_encoder/minilm").symlink_to(LANGUAGE_MODELS / "minilm", target_is_directory=True)
    command = [sys.executable, "-m", "small_world", "models", "--stored", str(demo_small_world.STORED), "--out"]
    made = subprocess.run([*command, str(folder)], cwd=REPO, capture_output=True, text=True)
    if "could not be downloaded" in made.stderr:
        warnings.warn(f"the small world was not drawn: {made.stderr}", stacklevel=1)
        pytest.skip("the package of all-MiniLM-L6-v2 can't be downloaded here")
    assert made.returncode == 0, made.stderr
    return folder


def test_what_ella_draws_is_what_was_asked_for_more_than_the_own_encoders_picture(server_with, tmp_path):
    template = json.loads((REPO / "workflows/ELLA text to image.json").read_text(encoding="utf-8"))
    demo_small_world.fill_in(template, SimpleNamespace(padding=True, max_length=128))
    demo.fill_in(template, demo_small_world.NAMES, None)
    right = {"ELLA": 0, "CLIP": 0}
    with server_with(*comfyui_server.device_flags()) as server:
        graph = server.api_prompt(template)
        positive = graph[next(n["inputs"]["positive"][0] for n in graph.values() if "ELLAApply" in n["class_type"])]
        for prompt in PROMPTS:
            positive["inputs"]["text"] = prompt
            for name, drawn in (("ELLA", graph), ("CLIP", demo_small_world.own_encoder(graph))):
                (file,) = comfyui_server.saved_files(server.run(drawn))
                found = shapes_in(Image.open(server.path_of(file)))
                right[name] += sum(claim.holds(found) for claim in read_prompt(prompt).claims)
    assert right["ELLA"] >= 1.5 * right["CLIP"], right
