"""The headless server: an API prompt runs, and the picture carries the graph that made it."""

import json

import pytest
from PIL import Image


@pytest.fixture(scope="module")
def run(server, workflow):
    """(workflow, API prompt, history) of ELLA text to image.json queued over HTTP."""
    graph = workflow("ELLA text to image.json")
    prompt = server.api_prompt(graph)
    return graph, prompt, server.run(prompt, graph)


def test_an_api_prompt_runs(run):
    assert run[2]["status"]["status_str"] == "success"


def test_the_picture_carries_workflow_and_prompt(server, run):
    graph, prompt, history = run
    with Image.open(server.picture(history)) as picture:
        assert picture.size == (64, 64)
        assert json.loads(picture.text["workflow"]) == graph
        saved = json.loads(picture.text["prompt"])
    assert {node: (part["class_type"], part["inputs"]) for node, part in saved.items()} == {
        node: (part["class_type"], part["inputs"]) for node, part in prompt.items()
    }


def test_the_saved_prompt_runs_again(server, run):
    with Image.open(server.picture(run[2])) as picture:
        saved = json.loads(picture.text["prompt"])
    for node in saved.values():
        if node["class_type"] == "KSampler":
            node["inputs"]["seed"] = 99
    assert server.picture(server.run(saved)) != server.picture(run[2])


def test_the_workflows_are_in_the_template_list(server):
    names = server.get("/workflow_templates")["ELLA"]
    assert {"ELLA text to image", "ELLA with LoRA and CLIP"} <= set(names)


def test_the_models_folders_are_listed(server):
    assert {"ella", "ella_encoder"} <= set(server.get("/models"))
    assert server.get("/models/ella") == ["ella-sd1.5-tsc-t5xl.safetensors", "ella-sdxl.safetensors"]
