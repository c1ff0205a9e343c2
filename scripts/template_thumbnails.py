"""Draws the thumbnails of the templates that the small world can draw, each through its template in a real ComfyUI.

    COMFYUI=... python scripts/template_thumbnails.py

The other templates' thumbnails are their graphs: their pictures need models that can't be part of this repository.
"""

import io
import json
import os
import tempfile
import textwrap
from pathlib import Path

import comfyui_server
import demo
from demo_small_world import NAMES, PIXELS, PROMPT, STORED, fill_in, write_models
from in_process_host import import_host
from PIL import Image, ImageDraw, ImageFont

REPO = Path(__file__).resolve().parents[1]
COMFYUI = os.environ["COMFYUI"]
SIZE = (768, 432)
TEXTS = {"Positive prompt": PROMPT, "Negative prompt": ""}
# What stands under the pictures of each template.
LABELS = {
    "ELLA text to image": ("ELLA",),
    "ELLA with Align Your Steps": ("ELLA, ten steps",),
    "ELLA against CLIP": ("CLIP", "ELLA", "ELLA + CLIP"),
}


def thumbnail(pictures, labels):
    """The prompt and the pictures under it, enlarged without smoothing, each over its label."""
    sheet = Image.new("RGB", SIZE, (32, 34, 38))
    pencil, font = ImageDraw.Draw(sheet), ImageFont.load_default(17)
    side = PIXELS * (4 if len(pictures) == 1 else 3)
    pencil.multiline_text((32, 24), "\n".join(textwrap.wrap(PROMPT, 82)), fill=(225, 225, 225), font=font, spacing=6)
    gap = (SIZE[0] - len(pictures) * side) // (len(pictures) + 1)
    for number, (picture, label) in enumerate(zip(pictures, labels)):
        left, top = gap + number * (side + gap), 124
        sheet.paste(picture.resize((side, side), Image.Resampling.NEAREST), (left, top))
        pencil.text((left, top + side + 12), label, fill=(225, 225, 225), font=font)
    return sheet


def drawn(server, workflow):
    """The pictures of a template: those that it previews, else the one that it saves."""
    outputs = server.run(server.api_prompt(workflow))["outputs"]
    files = comfyui_server.saved_files({"outputs": dict(sorted(outputs.items(), key=lambda item: int(item[0])))})
    files = [file for file in files if file["type"] == "temp"] or files
    return [Image.open(io.BytesIO(server.view(file))).convert("RGB") for file in files]


def main():
    core = import_host(COMFYUI)
    facts = core.load_connector(STORED / "connector.safetensors").facts.text_encoder
    with tempfile.TemporaryDirectory() as folder:
        models, base = Path(folder) / "models", Path(folder) / "base"
        write_models(STORED, models, COMFYUI)
        comfyui_server.make_base(base, COMFYUI, {"ELLA": REPO}, models)
        flags = ("--disable-api-nodes", *comfyui_server.device_flags())
        with comfyui_server.started(COMFYUI, *flags, base=base) as server:
            for name, labels in LABELS.items():
                workflow = json.loads((REPO / "workflows" / f"{name}.json").read_text(encoding="utf-8"))
                fill_in(workflow, facts)
                demo.fill_in(workflow, NAMES, None)
                for node in workflow["nodes"]:
                    if node.get("title") in TEXTS:
                        node["widgets_values"][0] = TEXTS[node["title"]]
                path = REPO / "workflows" / f"{name}.jpg"
                thumbnail(drawn(server, workflow), labels).save(path, quality=90)
                print(path)


if __name__ == "__main__":
    main()
