"""Every file of workflows/ as a user runs it: the models it offers, its wires, a picture out of the real executor."""

import json
import math
import shutil
from pathlib import Path

import comfyui_version
import folder_paths
import pytest
import torch
from comfy_cli.workflow_to_api import convert_ui_to_api
from PIL import Image
from safetensors.torch import load_file

REPO = Path(__file__).resolve().parents[2]
FILES = sorted((REPO / "workflows").glob("*.json"))
BYPASSED = 4
CHECKPOINT = "v1-5-pruned-emaonly-fp16.safetensors"
CONNECTOR = "ella-sd1.5-tsc-t5xl.safetensors"
TEXT_ENCODER = "models--google--flan-t5-xl--text_encoder_model.safetensors"
CONTROLNET = "control_v11p_sd15_canny_fp16.safetensors"
SDXL_CHECKPOINT = "sd_xl_base_1.0.safetensors"
SDXL_CONNECTOR = "ella-sdxl.safetensors"  # which nobody published, so there is nothing to offer
CAPTION, SLIDER = "ELLA caption for a short prompt", "ELLA with a strength slider"
OLDEST = {CAPTION: (0, 27)}  # the first ComfyUI that a template is made for, where it needs a newer one than the pack
SWITCH, ANY_TYPE = "ComfySwitchNode", "COMFY_MATCHTYPE_V3"
# Loader node -> model folder, and the small model that stands for each of the workflows'.
LOADERS = {
    "CheckpointLoaderSimple": (
        "checkpoints",
        {CHECKPOINT: "checkpoints/tiny.safetensors", SDXL_CHECKPOINT: "checkpoints/tiny-sdxl.safetensors"},
    ),
    "LoadELLA": ("ella", {CONNECTOR: "ella/tiny.safetensors", SDXL_CONNECTOR: "ella/tiny-sdxl.safetensors"}),
    "LoadELLATextEncoder": ("text_encoders", {TEXT_ENCODER: "ella_encoder/tiny-t5/model.safetensors"}),
    "ControlNetLoader": ("controlnet", {CONTROLNET: "controlnet/tiny.safetensors"}),
    # Only offered: no test lets it write, since a language model that ComfyUI can write with has no small size.
    "CLIPLoader": ("text_encoders", {"qwen3.5_2b_bf16.safetensors": "ella_encoder/tiny-t5/model.safetensors"}),
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


def read_workflow(path):
    """The workflow of a file, or a skipped test where the host is older than what it is made for."""
    oldest, found = OLDEST.get(path.stem, (0,)), numbers(comfyui_version.__version__)
    if found < oldest:
        pytest.skip(f"{path.stem} is made for ComfyUI {'.'.join(map(str, oldest))}, and this is {found}")
    return json.loads(path.read_text(encoding="utf-8"))


def numbers(version):
    return tuple(int(number) for number in version.split(".")[:2])


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def workflow(request):
    return read_workflow(request.param)


def executed_nodes(workflow):
    return [node for node in workflow["nodes"] if node["type"] != "MarkdownNote" and node["mode"] != BYPASSED]


def test_loaders_offer_the_model_they_name(workflow):
    loaders = [node for node in workflow["nodes"] if node["type"] in LOADERS]
    kinds = [node["type"] for node in loaders]
    assert ALWAYS <= set(kinds) and len(kinds) == len(set(kinds))
    for node in loaders:
        folder, names = LOADERS[node["type"]]
        name = node["widgets_values"][0]
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
        name, *grown = target["inputs"][slot]["name"].split(".")
        declared, *options = (inputs["required"] | inputs.get("optional", {}))[name]
        if grown:
            ((declared, _),) = options[0]["template"]["input"]["required"].values()
        assert info[origin["type"]]["output"][output] in (kind, ANY_TYPE)
        assert kind in declared.split(",") or declared in ("*", ANY_TYPE)
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
        if node["class_type"] == SWITCH:
            node["inputs"].update(switch=True)  # the caption that was edited, for which nothing has to be written
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


def test_the_template_of_captions_says_what_it_needs():
    workflow = json.loads((REPO / f"workflows/{CAPTION}.json").read_text(encoding="utf-8"))
    note = next(node["widgets_values"][0] for node in workflow["nodes"] if node.get("title") == "What to change first")
    assert f"ComfyUI {'.'.join(map(str, OLDEST[CAPTION]))} or newer" in note


def test_what_writes_the_caption_gets_the_instruction_and_the_short_prompt(host):
    """And the caption goes through the switch to what shows it, and from there to ELLA."""
    workflow = read_workflow(REPO / f"workflows/{CAPTION}.json")
    prompt = convert_ui_to_api(workflow, host.object_info(*{node["type"] for node in executed_nodes(workflow)}))
    titles = {str(node["id"]): node.get("title") for node in workflow["nodes"]}
    kinds = {node["class_type"]: (number, node["inputs"]) for number, node in prompt.items()}
    number, writer = kinds["TextGenerate"]
    given = prompt[writer["prompt"][0]]["inputs"]
    assert [titles[given[name][0]] for name in ("string_a", "string_b")] == ["Instruction", "Short prompt"]
    texts = {name: prompt[given[name][0]]["inputs"]["value"] for name in ("string_a", "string_b")}
    (joined,) = host.run("StringConcatenate", delimiter=given["delimiter"], **texts)
    assert joined.endswith("\nShort prompt:\na fox reads the newspaper in a tea house")
    switch = kinds[SWITCH][1]
    assert switch["switch"] is False and switch["on_false"] == [number, 0]
    assert titles[switch["on_true"][0]] == "Edited caption"
    shown, preview = kinds["PreviewAny"]
    assert preview["source"] == [kinds[SWITCH][0], 0]
    (positive,) = (node["inputs"] for node_id, node in prompt.items() if titles[node_id] == "Positive prompt")
    assert positive["text"] == [shown, 0]


def test_the_slider_goes_from_clip_to_ella(host, named_models):
    """At its ends the slider gives what graphs of CLIP alone and of ELLA alone give, and between them neither."""
    workflow = read_workflow(REPO / f"workflows/{SLIDER}.json")
    prompt = convert_ui_to_api(workflow, host.object_info(*{node["type"] for node in executed_nodes(workflow)}))
    at = {node.get("title") or node["type"]: str(node["id"]) for node in workflow["nodes"]}
    sampler, slider = prompt[at["KSampler"]]["inputs"], prompt[at["ELLA's strength"]]["inputs"]
    prompt[at["EmptyLatentImage"]]["inputs"].update(width=64, height=64)
    sampler.update(steps=3)
    del prompt[at["SaveImage"]]
    saving = {"samples": [at["KSampler"], 0], "filename_prefix": "slider"}
    prompt["save"] = {"class_type": "SaveLatent", "inputs": saving}

    def sampled():
        (shown,) = host.execute(prompt)["save"]["latents"]
        path = Path(folder_paths.get_output_directory()) / shown["subfolder"] / shown["filename"]
        return load_file(path)["latent_tensor"]

    mixed = {}
    for share in (0.0, 0.5, 1.0):
        slider["value"] = share
        mixed[share] = sampled()
    sampler.update(positive=[at["ELLAApplyConditioning"], 1], negative=[at["ELLAApplyConditioning"], 2])
    ella = sampled()
    clips = {name: [at[f"{name.capitalize()}, read by CLIP"], 0] for name in ("positive", "negative")}
    sampler.update(clips, model=[at["CheckpointLoaderSimple"], 0])
    clip = sampled()

    # Four prompts stand in a batch of the UNet instead of two, which may change the last places of its sums.
    close = {"atol": 1e-4, "rtol": 1e-4}
    torch.testing.assert_close(mixed[0.0], clip, **close)
    torch.testing.assert_close(mixed[1.0], ella, **close)
    apart = (ella - clip).abs().max()
    assert apart > 0.01
    for end in (clip, ella):
        assert (mixed[0.5] - end).abs().max() > 0.1 * apart
