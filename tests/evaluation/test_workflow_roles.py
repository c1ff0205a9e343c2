"""Prompt, seed, batch and picture of workflows whose nodes a real server knows: the pack's own, and hand-made ones."""

import json
from pathlib import Path

import pytest

from evaluation.errors import EvaluationError
from evaluation.workflow import Workflow, api_graph, read_workflow
from evaluation.workflow_roles import Roles, fill, find_roles

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def info(server):
    return server.object_info()


@pytest.fixture
def find(info):
    """A function: API graph or path of a workflow -> (Workflow, Roles)."""

    def find(graph, **chosen):
        if isinstance(graph, Path):
            graph = api_graph(read_workflow(graph), info)
        workflow = Workflow(graph, info)
        return workflow, find_roles(workflow, **chosen)

    return find


def node(kind, **inputs):
    return {"class_type": kind, "inputs": inputs}


def two_stage():
    """A graph for SDXL with two passes: one text node for four texts, one seed node for two samplers."""
    return {
        "text": node("PrimitiveStringMultiline", value="a cat"),
        "seed": node("PrimitiveInt", value=3),
        "ckpt": node("CheckpointLoaderSimple", ckpt_name="x.safetensors"),
        "pos": node(
            "CLIPTextEncodeSDXL",
            width=1024,
            height=1024,
            crop_w=0,
            crop_h=0,
            target_width=1024,
            target_height=1024,
            text_g=["text", 0],
            text_l=["text", 0],
            clip=["ckpt", 1],
        ),
        "neg": node("CLIPTextEncode", text="blurry", clip=["ckpt", 1]),
        "latent": node("EmptyLatentImage", width=64, height=64, batch_size=4),
        "one": node(
            "KSampler",
            model=["ckpt", 0],
            seed=["seed", 0],
            positive=["pos", 0],
            negative=["neg", 0],
            latent_image=["latent", 0],
        ),
        "up": node("LatentUpscaleBy", samples=["one", 0], upscale_method="bilinear", scale_by=1.5),
        "two": node(
            "KSampler", model=["ckpt", 0], seed=9, positive=["pos", 0], negative=["neg", 0], latent_image=["up", 0]
        ),
        "vae": node("VAEDecode", samples=["two", 0], vae=["ckpt", 2]),
        "save": node("SaveImage", images=["vae", 0], filename_prefix="x"),
        "look": node("PreviewImage", images=["vae", 0]),
    }


def test_every_template_of_the_pack(find):
    found = {}
    for path in sorted((REPO / "workflows").glob("*.json")):
        try:
            workflow, roles = find(path)
        except EvaluationError as error:
            found[path.stem] = str(error)
            continue
        found[path.stem] = [workflow.graph[place[0]]["class_type"] for place in roles.prompt]
        assert all("negative" not in workflow.title(place[0]).lower() for place in roles.prompt)
        assert roles.seed and workflow.graph[roles.save]["class_type"] == "SaveImage"
    read = [name for name, kinds in found.items() if isinstance(kinds, list)]
    assert len(read) >= 6, found
    for name in set(found) - set(read):  # templates with several prompts or pictures are refused by name of node
        assert "the candidates are" in found[name]


def test_a_text_through_two_inputs_and_a_seed_node(find):
    workflow, roles = find(two_stage())
    assert roles == Roles([["text", "value"]], [["two", "seed"], ["seed", "value"]], [["latent", "batch_size"]], "save")
    graph = fill(workflow.pruned("save"), roles, "a dog", 77, 1)
    assert graph["text"]["inputs"]["value"] == "a dog" and graph["latent"]["inputs"]["batch_size"] == 1
    assert graph["seed"]["inputs"]["value"] == graph["two"]["inputs"]["seed"] == 77
    assert "look" not in graph and set(graph) == set(two_stage()) - {"look"}
    assert workflow.graph == two_stage()


def test_texts_of_one_encoder_are_all_the_prompt(find):
    graph = two_stage()
    graph["pos"]["inputs"] |= {"text_g": "a cat", "text_l": "cat"}
    assert find(graph)[1].prompt == [["pos", "text_g"], ["pos", "text_l"]]


def custom_sampler():
    """A graph with a guider, a noise node and a condition that went through ControlNet."""
    graph = two_stage()
    for name in ("one", "two", "up", "pos", "seed", "text"):
        del graph[name]
    graph |= {
        "pos": node("CLIPTextEncode", text="a cat", clip=["ckpt", 1]),
        "control": node(
            "ControlNetApplyAdvanced",
            positive=["pos", 0],
            negative=["neg", 0],
            control_net=["net", 0],
            image=["load", 0],
            strength=1.0,
            start_percent=0.0,
            end_percent=1.0,
        ),
        "net": node("ControlNetLoader", control_net_name="n.safetensors"),
        "load": node("LoadImage", image="example.png"),
        "guider": node("CFGGuider", model=["ckpt", 0], positive=["control", 0], negative=["control", 1], cfg=7.0),
        "noise": node("RandomNoise", noise_seed=4),
        "kind": node("KSamplerSelect", sampler_name="euler"),
        "sigmas": node("BasicScheduler", model=["ckpt", 0], scheduler="normal", steps=4, denoise=1.0),
        "two": node(
            "SamplerCustomAdvanced",
            noise=["noise", 0],
            guider=["guider", 0],
            sampler=["kind", 0],
            sigmas=["sigmas", 0],
            latent_image=["latent", 0],
        ),
    }
    return graph


def test_a_guider_and_a_controlnet(find):
    assert find(custom_sampler())[1] == Roles(
        [["pos", "text"]], [["noise", "noise_seed"]], [["latent", "batch_size"]], "save"
    )


def test_joined_texts_are_not_clear_until_one_is_chosen(find):
    graph = two_stage()
    graph["style"] = node("StringConcatenate", string_a=["text", 0], string_b="in oil", delimiter=", ")
    graph["pos"]["inputs"] |= {"text_g": ["style", 0], "text_l": ["style", 0]}
    with pytest.raises(
        EvaluationError, match=r"not clear .* --prompt-node .* text \(PrimitiveStringMultiline\) 'a cat', style"
    ):
        find(graph)
    assert find(graph, prompt_nodes=["text"])[1].prompt == [["text", "value"]]
    assert find(graph, prompt_nodes=["style.string_a"])[1].prompt == [["style", "string_a"]]
    assert find(graph, prompt_nodes=["pos"])[1].prompt == [["pos", "text_g"], ["pos", "text_l"]]


def test_two_prompts_are_not_clear(find):
    graph = custom_sampler()
    graph["more"] = node("CLIPTextEncode", text="a dog", clip=["ckpt", 1])
    graph["both"] = node("ConditioningCombine", conditioning_1=["pos", 0], conditioning_2=["more", 0])
    graph["control"]["inputs"]["positive"] = ["both", 0]
    with pytest.raises(
        EvaluationError, match=r"not clear .* pos \(CLIPTextEncode\) 'a cat', more \(CLIPTextEncode\) 'a dog'"
    ):
        find(graph)
    assert find(graph, prompt_nodes=["more", "pos.text"])[1].prompt == [["more", "text"], ["pos", "text"]]


def test_workflows_that_can_t_be_used(find, info):
    graph = custom_sampler()
    graph["again"] = node("SaveImage", images=["vae", 0], filename_prefix="again")
    with pytest.raises(
        EvaluationError, match=r"saves 2 pictures; .*--save-node.* save \(SaveImage\), again \(SaveImage\)"
    ):
        find(graph)
    assert find(graph, save_node="again")[1].save == "again"
    assert find(graph, save_node="look")[1].save == "look"
    with pytest.raises(EvaluationError, match="--save-node vae saves no picture"):
        find(graph, save_node="vae")
    with pytest.raises(EvaluationError, match="saves no picture; add a Save Image"):
        find({name: custom_sampler()[name] for name in ("load",)})
    graph = custom_sampler()
    del graph["two"], graph["guider"]
    graph["vae"]["inputs"]["samples"] = ["latent", 0]
    with pytest.raises(EvaluationError, match=r"no prompt that a sampler reads; .* pos \(CLIPTextEncode\) 'a cat'"):
        find(graph)
    with pytest.raises(EvaluationError, match=r"no seed was found .* noise \(RandomNoise\) '4'"):
        find(graph, prompt_nodes=["pos"])
    assert find(graph, prompt_nodes=["pos"], seed_nodes=["noise"])[1].seed == [["noise", "noise_seed"]]
    for wrong in ("nine", "pos.txt", "vae"):
        with pytest.raises(EvaluationError, match=f"--prompt-node {wrong} .*the candidates are"):
            find(custom_sampler(), prompt_nodes=[wrong])
    graph["x"] = node("NodeOfNobody", value=1)
    with pytest.raises(EvaluationError, match="has no node NodeOfNobody"):
        find(graph)
    graph = custom_sampler()
    graph["pos"]["inputs"]["clip"] = ["control", 0]
    with pytest.raises(EvaluationError, match="run in a circle"):
        find(graph)


def test_files_that_are_no_workflow(tmp_path, info):
    for text in ("", "[]", "{}", '{"1": {"inputs": {}}}', '{"nodes": 3}'):
        path = tmp_path / "workflow.json"
        path.write_text(text)
        with pytest.raises(EvaluationError, match="is no ComfyUI workflow"):
            read_workflow(path)
    with pytest.raises(EvaluationError, match="can't be read"):
        read_workflow(tmp_path / "gone.json")
    drawn = json.loads((REPO / "workflows/ELLA text to image.json").read_text())
    drawn["nodes"][0]["type"] = "NodeOfNobody"
    with pytest.raises(EvaluationError, match="has no node NodeOfNobody"):
        api_graph(drawn, info)
