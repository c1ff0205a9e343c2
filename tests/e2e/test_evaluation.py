"""A template of the pack, as the editor saves it, through python -m evaluation on a real server."""

import json
import subprocess
import sys
from pathlib import Path

from PIL import Image

REPO = Path(__file__).resolve().parents[2]
PROMPTS = {"cat": "a tall grey cat beside a blue door", "dog": "two dogs asleep on a green sofa"}


def test_a_template_draws_every_prompt(server, workflow, tmp_path):
    (tmp_path / "workflow.json").write_text(json.dumps(workflow("ELLA text to image.json")), encoding="utf-8")
    (tmp_path / "prompts.json").write_text(json.dumps(PROMPTS), encoding="utf-8")
    command = [sys.executable, "-m", "evaluation", "generate", "--suite", "custom", "--servers", server.address]
    command += ["--data", tmp_path / "prompts.json", "--workflow", tmp_path / "workflow.json"]
    command += ["--images", "1", "--seed", "7", "--out", tmp_path / "run"]
    result = subprocess.run([str(part) for part in command], cwd=REPO, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    pixels = set()
    for prompt, text in PROMPTS.items():
        with Image.open(tmp_path / f"run/pictures/{prompt}/0.png") as picture:
            nodes = list(json.loads(picture.info["prompt"]).values())
            pixels.add(picture.tobytes())
        assert text in [node["inputs"].get("text") for node in nodes if node["class_type"] == "ELLAT5TextEncode"]
        assert [node["inputs"]["seed"] for node in nodes if node["class_type"] == "KSampler"] == [7]
    assert len(pixels) == 2
