"""Every way of wiring the earlier ELLA packs, converted and executed by the real host."""

import copy
import importlib
from pathlib import Path

import comfy.model_sampling
import comfy.samplers
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


# ---- what the converter says by hand, against the host


def as_kind(info):
    """(inputs, widgets, outputs, optional) of a node as the host describes it, as in a NodeKind."""
    described = {**info["input"]["required"], **info["input"].get("optional", {})}
    order = [name for group, names in info["input_order"].items() if group != "hidden" for name in names]
    wires = {name: "COMBO" if isinstance(described[name][0], list) else described[name][0] for name in order}
    typed = [name for name in order if wires[name] in ("COMBO", "BOOLEAN", "STRING", "INT", "FLOAT")]
    return (
        tuple((name, wires[name]) for name in order if name not in typed),
        tuple((name, wires[name]) for name in typed),
        tuple(zip(info["output_name"], info["output"])),
        tuple(info["input"].get("optional", {})),
    )


@pytest.mark.parametrize("name", ["LOAD_ELLA", "LOAD_ENCODER", "T5_TEXT_ENCODE", "CLIP_TEXT_ENCODE", "APPLY"])
def test_a_node_that_the_converter_writes_is_the_host_s(name, host):
    kind = getattr(importlib.import_module(f"{host.pack.__name__}.old_workflows.new_nodes"), name)
    (info,) = host.object_info(kind.name).values()
    assert (kind.inputs, kind.widgets, kind.outputs, kind.optional) == as_kind(info)
    described = {**info["input"]["required"], **info["input"].get("optional", {})}
    for (widget, wire), default in zip(kind.widgets, kind.defaults, strict=True):
        if wire != "COMBO":  # whose default is whatever file is there
            assert default == described[widget][1].get("default", "")


def test_every_node_that_the_converter_writes_is_compared(host):
    module = importlib.import_module(f"{host.pack.__name__}.old_workflows.new_nodes")
    kinds = [name for name, value in vars(module).items() if isinstance(value, module.NodeKind)]
    assert kinds == ["LOAD_ELLA", "LOAD_ENCODER", "T5_TEXT_ENCODE", "CLIP_TEXT_ENCODE", "APPLY"]


@pytest.mark.parametrize("kind", ["KSampler", "KSamplerAdvanced", "BasicScheduler"])
def test_the_widgets_of_samplers_are_read_in_the_editor_s_order(kind, host):
    names = importlib.import_module(f"{host.pack.__name__}.old_workflows.core_nodes").WIDGETS[kind]
    (info,) = host.object_info(kind).values()
    _, widgets, _, _ = as_kind(info)
    expected = []
    for name, _ in widgets:
        expected.append(name)
        options = info["input"]["required"][name][1:]
        if options and options[0].get("control_after_generate"):
            expected.append("control_after_generate")  # the editor's own, behind a seed
    assert list(names) == expected


def old_error(told, steps):
    """Largest error, in timesteps, of what the old pack gave a sampler that ran the schedule it was told."""
    sampling = type("Sampling", (comfy.model_sampling.ModelSamplingDiscrete, comfy.model_sampling.EPS), {})()
    total = int(steps / told.denoise)
    sigmas = comfy.samplers.calculate_sigmas(sampling, told.scheduler, total)[-(steps + 1) :]
    timesteps = sampling.timestep(sigmas)
    edges = [sampling.percent_to_sigma(step / steps) for step in range(steps + 1)]
    errors = []
    for number in range(steps):  # the i-th conditioning holds from edge i to edge i + 1, the sigmas there included
        held = [step for step in range(steps) if edges[step + 1] <= float(sigmas[number]) <= edges[step]]
        errors += [abs(float(timesteps[step] - timesteps[number])) for step in held]
    return max(errors)


@pytest.mark.parametrize("scheduler", comfy.samplers.SCHEDULER_NAMES)
def test_schedules_said_to_change_the_picture_are_those_whose_timesteps_were_wrong(scheduler, host):
    schedules = importlib.import_module(f"{host.pack.__name__}.old_workflows.schedules")
    for steps in (10, 20, 25, 30, 50):
        for denoise in (1.0, 0.5):
            told = schedules.Schedule(scheduler, steps, denoise)
            assert schedules.is_spread_evenly(told) == (old_error(told, steps) < 1)
