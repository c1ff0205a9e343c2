"""Every way of wiring the earlier ELLA packs, converted and executed by the real host."""

import copy
import importlib
from pathlib import Path

import folder_paths
import pytest
import torch
from comfy_cli.workflow_to_api import convert_ui_to_api
from old_graphs import GRAPHS, as_ui
from PIL import Image
from safetensors.torch import save_file

# They differ only in how the old pack was told the schedule, or in CLIP words that it did not use.
ALIKE = ("apply_with_sigmas", "apply_with_timesteps", "apply_without_schedule", "encode", "clip_ignored_with_sigmas")


@pytest.fixture(scope="module")
def named_models(model_files, random_models):
    """The ControlNet and the LoRA that the graphs name, beside the small models."""
    controlnet, lora = (
        model_files / "controlnet/tiny-controlnet.safetensors",
        model_files / "loras/tiny-lora.safetensors",
    )
    random_models.make_controlnet(str(controlnet), dtype=torch.float32)
    lora.parent.mkdir(exist_ok=True)
    name = "lora_unet_middle_block_1_transformer_blocks_0_attn2_to_q"
    save_file({f"{name}.lora_down.weight": torch.ones(4, 640), f"{name}.lora_up.weight": torch.ones(640, 4)}, str(lora))
    yield
    controlnet.unlink()
    lora.unlink()


@pytest.fixture(scope="module")
def converted(host):
    """Converts a workflow in place, with the converter of the pack as the host loaded it."""
    name = f"{host.pack.__name__}.old_workflows"
    workflow_file, rules = importlib.import_module(f"{name}.workflow_file"), importlib.import_module(f"{name}.convert")

    def convert(workflow):
        rules.convert(workflow_file.graph_of(workflow, "test"))
        return workflow

    return convert


@pytest.fixture(scope="module")
def pictures():
    """The pictures drawn so far, by the graph's name."""
    return {}


def as_prompt(host, workflow):
    """An editor's workflow as the frontend would queue it."""
    kinds = {entry["type"] for entry in workflow["nodes"]}
    prompt = convert_ui_to_api(workflow, host.object_info(*kinds))
    # The converter drops a node that it can't convert.
    assert {number: fields["class_type"] for number, fields in prompt.items()} == {
        str(entry["id"]): entry["type"] for entry in workflow["nodes"]
    }
    return prompt


def inputs_of(prompt):
    return {number: fields["inputs"] for number, fields in prompt.items()}


@pytest.mark.parametrize("name", GRAPHS)
def test_a_converted_graph_becomes_a_picture(name, host, named_models, converted, pictures):
    prompt = as_prompt(host, converted(as_ui(GRAPHS[name])))
    assert inputs_of(prompt) == inputs_of(converted(copy.deepcopy(GRAPHS[name])))  # so this is a run of both formats

    (shown,) = host.execute(prompt).values()
    (saved,) = shown["images"]
    with Image.open(Path(folder_paths.get_output_directory()) / saved["subfolder"] / saved["filename"]) as picture:
        assert picture.size == (64, 64) and len(picture.getcolors(64 * 64)) > 100
        pictures[name] = picture.tobytes()
    if name in ALIKE:
        assert pictures[name] == pictures[next(drawn for drawn in ALIKE if drawn in pictures)]
