"""The demo's two graphs of one prompt in a real server: the template as it fills it in, and the same without ELLA."""

import json
from types import SimpleNamespace

import demo_small_world
from comfyui_server import saved_files
from PIL import Image


def test_the_template_is_drawn_beside_the_checkpoints_own_text_encoder(server, workflow, tmp_path):
    template = workflow("ELLA text to image.json")
    demo_small_world.fill_in(template, SimpleNamespace(padding=True, max_length=128))
    prompt = server.api_prompt(template)
    kinds = {node["class_type"]: node["inputs"] for node in prompt.values()}
    assert (kinds["EmptyLatentImage"]["width"], kinds["EmptyLatentImage"]["height"]) == (64, 64)
    texts = [node["inputs"] for node in prompt.values() if node["class_type"] == "ELLAT5TextEncode"]
    assert [text["max_length"] for text in texts] == [128, 128]
    assert sorted(bool(text["text"]) for text in texts) == [False, True]

    pictures = []
    for graph in (prompt, demo_small_world.own_encoder(prompt)):
        (file,) = saved_files(server.run(graph))
        pictures.append(server.path_of(file))
    drawn = [Image.open(picture) for picture in pictures]
    assert [picture.size for picture in drawn] == [(64, 64)] * 2 and drawn[0].tobytes() != drawn[1].tobytes()
    nodes = [list(json.loads(picture.info["prompt"]).values()) for picture in drawn]
    assert not any("ELLA" in node["class_type"] for node in nodes[1])
    plain = [node["inputs"] for node in nodes[1] if node["class_type"] == "CLIPTextEncode"]
    assert sorted(text["text"] for text in plain) == sorted(text["text"] for text in texts)
    seeds = [node["inputs"]["seed"] for some in nodes for node in some if node["class_type"] == "KSampler"]
    assert len(seeds) == 2 and len(set(seeds)) == 1

    with Image.open(demo_small_world.side_by_side(pictures, tmp_path / "both.png")) as both:
        side = 64 * demo_small_world.ENLARGED
        assert both.width > 2 * side and both.height > side
        assert both.getpixel((13, 41)) == drawn[0].convert("RGB").getpixel((0, 0))
