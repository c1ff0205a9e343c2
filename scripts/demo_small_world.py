"""The demo's own models: a small world of coloured shapes, whose pictures are judged exactly."""

import json
import os
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

from demo_models import FOLDERS, ModelError
from PIL import Image, ImageDraw, ImageFont

REPO = Path(__file__).resolve().parents[1]
STORED = REPO / "assets/small_world"
MODELS = REPO / ".host/small-world-models"
NAMES = {
    "CheckpointLoaderSimple": "small_world.safetensors",
    "LoadELLA": "small_world.safetensors",
    "LoadELLATextEncoder": "minilm",
}
PROMPT = "a red circle to the left of a large blue square, above them two small green triangles"
PIXELS = 64  # of a side, as the base was trained
CFG = 3.0  # as the small world is measured
LABELS = ("ELLA", "the checkpoint's own text encoder")
ENLARGED = 6


def is_stored(stored):
    """Whether a folder holds what `python -m small_world export` writes."""
    return (Path(stored) / "connector.safetensors").is_file()


def make_models(stored, comfyui, say):
    """The folder of models, made of what is stored on first use; ComfyUI is in this process and gets it as well."""
    import folder_paths

    say("drawing the small world of coloured shapes, 64 x 64 pixels, which this repository trained;")
    say("on first use its models are widened into .host and all-MiniLM-L6-v2 is downloaded")
    write_models(stored, MODELS, comfyui)
    for folder in FOLDERS:
        folder_paths.add_model_folder_path(folder, str(MODELS / folder), is_default=True)
    return dict(NAMES), str(MODELS)


def write_models(stored, out, comfyui):
    """Widens what is stored into a folder of models, with the language model's package."""
    _small_world(["models", "--stored", os.path.abspath(stored), "--out", str(out)], comfyui, stdout=sys.stderr)


def text_encoder_facts(core):
    """How the connector's texts became text states, as its file says; `core` is ella_core."""
    return core.load_connector(MODELS / "ella" / NAMES["LoadELLA"]).facts.text_encoder


def fill_in(workflow, facts):
    """Writes into the graph what this world was trained with: its size, its texts' length, no negative prompt."""
    apply = next(node for node in workflow["nodes"] if node["type"] == "ELLAApplyConditioning")
    link = next(slot["link"] for slot in apply["inputs"] if slot["name"] == "negative")
    negative = next(origin for number, origin, *_ in workflow["links"] if number == link)
    for node in workflow["nodes"]:
        values = node.get("widgets_values")
        if node["type"] == "ELLAT5TextEncode":
            values[1] = facts.max_length if facts.padding else 0
            if node["id"] == negative:
                values[0] = ""
        elif node["type"] == "EmptyLatentImage":
            values[:2] = PIXELS, PIXELS
        elif node["type"] == "KSampler":
            values[3] = CFG
        elif node["type"] == "CFGGuider":
            values[0] = CFG


def own_encoder(prompt):
    """The same API prompt without ELLA: the checkpoint's MODEL, and its own CLIP reads the same texts."""
    plain = deepcopy(prompt)
    checkpoint = _node(plain, "CheckpointLoaderSimple")
    apply = plain[_node(plain, "ELLAApplyConditioning")]["inputs"]
    sampler = plain[_node(plain, "KSampler")]["inputs"]
    sampler["model"] = [checkpoint, 0]
    for side in ("positive", "negative"):
        number = apply[side][0]
        text = plain[number]["inputs"]["text"]
        title = plain[number].get("_meta", {}).get("title", "CLIP Text Encode")
        encode = {"class_type": "CLIPTextEncode", "_meta": {"title": title}}
        plain[number] = encode | {"inputs": {"clip": [checkpoint, 1], "text": text}}
        sampler[side] = [number, 0]
    for kind in ("ELLAApplyConditioning", "LoadELLA", "LoadELLATextEncoder"):
        del plain[_node(plain, kind)]
    plain[_node(plain, "SaveImage")]["inputs"]["filename_prefix"] = "CLIP"
    return plain


def describe(pictures, prompt, comfyui, say):
    """Says what each picture shows and gets right, and what the world knows where the prompt says more."""
    command = ["describe", *map(str, pictures), f"--prompt={prompt}"]
    told = json.loads(_small_world(command, comfyui, stdout=subprocess.PIPE))
    for label, (shows, *judged) in zip(LABELS, told["pictures"]):
        say(f"the picture of {label} {shows}")
        for line in judged:
            say(f"  {line}")
    if told["outside"]:
        say(told["outside"])


def side_by_side(pictures, path):
    """Both pictures enlarged without smoothing, each under its label, as one; returns its path."""
    side, head, gap = PIXELS * ENLARGED, 28, 12
    sheet = Image.new("RGB", (2 * side + 3 * gap, side + head + 2 * gap), (235, 235, 235))
    pencil = ImageDraw.Draw(sheet)
    for number, (label, picture) in enumerate(zip(LABELS, pictures)):
        left = gap + number * (side + gap)
        pencil.text((left, gap), label, fill=(40, 40, 40), font=ImageFont.load_default(16))
        with Image.open(picture) as opened:
            sheet.paste(opened.convert("RGB").resize((side, side), Image.Resampling.NEAREST), (left, head + gap))
    sheet.save(path)
    return path


def _node(prompt, kind):
    return next(number for number, node in prompt.items() if node["class_type"] == kind)


def _small_world(arguments, comfyui, stdout):
    """Runs a command of the small world in a process of its own, since it brings ComfyUI's modules for the CPU."""
    command = [sys.executable, "-m", "small_world", *arguments]
    environment = os.environ | {"COMFYUI": str(comfyui)}
    result = subprocess.run(command, cwd=REPO, env=environment, stdout=stdout, text=True)
    if result.returncode:
        raise ModelError("The small world could not be used; the lines above say why.")
    return result.stdout
