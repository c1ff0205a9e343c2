"""Every file of workflows/ as a user runs it: the models it offers, its wires, a picture out of the real executor."""

import json
import math
import shutil
from pathlib import Path

import folder_paths
import pytest
import torch
from comfy_cli.workflow_to_api import convert_ui_to_api
from PIL import Image

REPO = Path(__file__).resolve().parents[2]
FILES = sorted((REPO / "workflows").glob("*.json"))
BYPASSED = 4
CHECKPOINT = "v1-5-pruned-emaonly-fp16.safetensors"
CONNECTOR = "ella-sd1.5-tsc-t5xl.safetensors"
TEXT_ENCODER = "models--google--flan-t5-xl--text_encoder_model.safetensors"
CONTROLNET = "control_v11p_sd15_canny_fp16.safetensors"
SDXL_CHECKPOINT = "sd_xl_base_1.0.safetensors"
SDXL_CONNECTOR = "ella-sdxl.safetensors"  # which nobody published, so there is nothing to offer
# Loader node -> model folder, and the small model that stands for each of the workflows'.
LOADERS = {
    "CheckpointLoaderSimple": (
        "checkpoints",
        {CHECKPOINT: "checkpoints/tiny.safetensors", SDXL_CHECKPOINT: "checkpoints/tiny-sdxl.safetensors"},
    ),
    "LoadELLA": ("ella", {CONNECTOR: "ella/tiny.safetensors", SDXL_CONNECTOR: "ella/tiny-sdxl.safetensors"}),
    "LoadELLATextEncoder": ("text_encoders", {TEXT_ENCODER: "ella_encoder/tiny-t5/model.safetensors"}),
    "ControlNetLoader": ("controlnet", {CONTROLNET: "controlnet/tiny.safetensors"}),
}
ALWAYS = {"CheckpointLoaderSimple", "LoadELLA", "LoadELLATextEncoder"}


@pytest.fixture(scope="module")
def named_models(host, model_files, random_models):
    """The small models under the names that the workflows ask for."""
    random_models.make_controlnet(str(model_files / "controlnet/tiny.safetensors"), dtype=torch.float32)
    random_models.make_sdxl_checkpoint(str(model_files / "checkpoints/tiny-sdxl.safetensors"))
    random_models.make_connector(
        str(model_files / "ella/tiny-sdxl.safetensors"),
        host.core("connectors.tsc"),
        width=2048,
        depth=1,
        time_dim=64,
        text_dim=32,
        pooled_dim=1280,
    )
    paths = [model_files / "checkpoints/tiny-sdxl.safetensors", model_files / "ella/tiny-sdxl.safetensors"]
    for folder, names in LOADERS.values():
        for name, small in names.items():
            path = model_files / folder / name
            path.parent.mkdir(exist_ok=True)
            shutil.copyfile(model_files / small, path)
            paths.append(path)
    yield
    for path in paths:
        path.unlink()


@pytest.fixture(scope="module")
def example_picture(host):
    """A small picture, a part of it masked, under the name of the one that comes with ComfyUI."""
    path = Path(folder_paths.get_input_directory()) / "example.png"
    pixels = torch.randint(256, (64, 64, 4), generator=torch.Generator().manual_seed(3), dtype=torch.uint8)
    pixels[..., 3] = 255
    pixels[16:48, 8:40, 3] = 0
    Image.fromarray(pixels.numpy()).save(path)
    yield
    path.unlink()


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def workflow(request):
    return json.loads(request.param.read_text(encoding="utf-8"))


def executed_nodes(workflow):
    return [node for node in workflow["nodes"] if node["type"] != "MarkdownNote" and node["mode"] != BYPASSED]


def test_loaders_offer_the_model_they_name(workflow):
    loaders = [node for node in workflow["nodes"] if node["type"] in LOADERS]
    kinds = [node["type"] for node in loaders]
    assert ALWAYS <= set(kinds) and len(kinds) == len(set(kinds))
    for node in loaders:
        folder, names = LOADERS[node["type"]]
        (name,) = node["widgets_values"]
        assert name in names
        if name == SDXL_CONNECTOR:
            assert "models" not in node["properties"]
            continue
        (model,) = node["properties"]["models"]
        assert set(model) == {"name", "url", "directory"}
        assert (model["name"], model["directory"]) == (name, folder)
        # The frontend offers a download only from addresses that begin so.
        assert model["url"].startswith("https://huggingface.co/") and model["url"].endswith(".safetensors")


def test_nodes_tell_which_pack_they_are_from(workflow, host):
    ours = {
        node_id for node_id, cls in host.node_classes.items() if cls.__module__.startswith(host.pack.__name__ + ".")
    }
    for node in workflow["nodes"]:
        if node["type"] != "MarkdownNote":
            assert node["properties"]["cnr_id"] == ("ella" if node["type"] in ours else "comfy-core")
            assert node["properties"]["Node name for S&R"] == node["type"]


def test_links_join_slots_of_the_nodes_own_types(workflow, host):
    nodes = {node["id"]: node for node in workflow["nodes"]}
    info = host.object_info(*{node["type"] for node in workflow["nodes"]} - {"MarkdownNote"})
    for number, origin, output, target, slot, kind in workflow["links"]:
        origin, target = nodes[origin], nodes[target]
        assert number in origin["outputs"][output]["links"]
        assert target["inputs"][slot]["link"] == number
        inputs = info[target["type"]]["input"]
        declared = (inputs["required"] | inputs.get("optional", {}))[target["inputs"][slot]["name"]]
        assert info[origin["type"]]["output"][output] == kind == declared[0]
    wired = [slot["link"] for node in workflow["nodes"] for slot in node["inputs"] if slot["link"] is not None]
    assert sorted(wired) == sorted(link[0] for link in workflow["links"])


def test_workflow_becomes_a_picture(workflow, host, named_models, example_picture):
    nodes = executed_nodes(workflow)
    prompt = convert_ui_to_api(workflow, host.object_info(*{node["type"] for node in nodes}))
    # The converter drops a node that it can't convert, and an input whose source it dropped.
    assert {number: node["class_type"] for number, node in prompt.items()} == {
        str(node["id"]): node["type"] for node in nodes
    }
    for node in nodes:
        linked = {slot["name"] for slot in node["inputs"] if slot["link"] is not None}
        inputs = prompt[str(node["id"])]["inputs"]
        assert {name for name, value in inputs.items() if isinstance(value, list)} == linked

    for node in prompt.values():
        if node["class_type"] == "EmptyLatentImage":
            node["inputs"].update(width=64, height=64)
        if "steps" in node["inputs"]:
            node["inputs"].update(steps=3)
    scales = [node["inputs"]["scale_by"] for node in prompt.values() if node["class_type"] == "LatentUpscaleBy"]
    side = int(64 * math.prod(scales))
    spacings = [node["inputs"]["spacing_width"] for node in prompt.values() if node["class_type"] == "ImageStitch"]
    size = (side + sum(side + spacing for spacing in spacings), side)
    (output,) = (number for number, node in prompt.items() if node["class_type"] == "SaveImage")
    (saved,) = host.execute(prompt)[output]["images"]
    with Image.open(Path(folder_paths.get_output_directory()) / saved["subfolder"] / saved["filename"]) as picture:
        assert (picture.format, picture.size) == ("PNG", size)
        assert json.loads(picture.text["prompt"]) == prompt
        assert len(picture.getcolors(math.prod(size))) > 100


def test_the_comparison_differs_in_the_conditioning_alone(host):
    workflow = json.loads((REPO / "workflows/ELLA against CLIP.json").read_text(encoding="utf-8"))
    prompt = convert_ui_to_api(workflow, host.object_info(*{node["type"] for node in executed_nodes(workflow)}))
    samplers = [node["inputs"] for node in prompt.values() if node["class_type"] == "KSampler"]
    differing = ("model", "positive", "negative")
    settings = [{name: value for name, value in inputs.items() if name not in differing} for inputs in samplers]
    assert len(settings) == 3 and settings[0] == settings[1] == settings[2]
    assert all(len({inputs[name][0] for inputs in samplers}) == 3 for name in differing)
    kinds = ("CLIPTextEncode", "ELLAT5TextEncode")
    texts = {kind: [node["inputs"]["text"] for node in prompt.values() if node["class_type"] == kind] for kind in kinds}
    assert texts["CLIPTextEncode"] == texts["ELLAT5TextEncode"] == [["4", 0], ["5", 0]]
    titles = [node["title"] for node in workflow["nodes"] if node["type"] == "PreviewImage"]
    assert titles == ["CLIP", "ELLA", "ELLA + CLIP"]
