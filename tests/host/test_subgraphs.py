"""The subgraph blueprint: the host serves it, its parts fit together, and it draws what its nodes draw alone."""

import copy
import json
from pathlib import Path
from types import SimpleNamespace

import folder_paths
import numpy
import pytest
from aiohttp import web
from comfy_cli.workflow_to_api import convert_ui_to_api
from PIL import Image

REPO = Path(__file__).resolve().parents[2]
NAME = "ELLA prompt"
INPUT, OUTPUT = -10, -20
SMALL = {"ckpt_name": "tiny.safetensors", "ella_name": "tiny.safetensors", "text_encoder_name": "tiny-t5"}


@pytest.fixture(scope="module")
def served(host):
    """The blueprint as the host's own routes give it, the pack's folder being in custom_nodes."""
    from app.subgraph_manager import SubgraphManager

    folder = Path(folder_paths.get_folder_paths("custom_nodes")[0]) / "ELLA"
    folder.symlink_to(REPO, target_is_directory=True)
    table = web.RouteTableDef()
    SubgraphManager().add_routes(table, {})
    listing, one = (route.handler for route in table)
    entries = json.loads(host.loop.run_until_complete(listing(None)).text)
    (key,) = [key for key, entry in entries.items() if entry["info"]["node_pack"] == "custom_nodes.ELLA"]
    yield json.loads(host.loop.run_until_complete(one(SimpleNamespace(match_info={"id": key}))).text)
    folder.unlink()


@pytest.fixture(scope="module")
def blueprint(served):
    return json.loads(served["data"])


@pytest.fixture(scope="module")
def definition(blueprint):
    (definition,) = blueprint["definitions"]["subgraphs"]
    return definition


def test_the_host_serves_it_under_its_name(served, blueprint, definition):
    (node,) = blueprint["nodes"]
    assert served["name"] == definition["name"] == node["title"] == NAME
    assert node["type"] == definition["id"]


def test_what_the_node_shows_is_what_the_subgraph_has(blueprint, definition):
    (node,) = blueprint["nodes"]
    for side in ("inputs", "outputs"):
        shown = [(slot["name"], slot["type"]) for slot in node[side]]
        assert shown == [(slot["name"], slot["type"]) for slot in definition[side]]
    assert [slot["name"] for slot in definition["outputs"]] == ["MODEL", "positive", "negative"]
    inner = {entry["id"]: entry for entry in definition["nodes"]}
    targets = {link["id"]: (link["target_id"], link["target_slot"]) for link in definition["links"]}
    promoted = []
    for slot, shown in zip(definition["inputs"], node["inputs"], strict=True):
        (link,) = slot["linkIds"]
        target = inner[targets[link][0]]
        end = target["inputs"][targets[link][1]]
        assert end["type"] == slot["type"] and ("widget" in end) == ("widget" in shown)
        if "widget" in end:
            promoted.append([str(target["id"]), end["name"]])
    assert promoted == node["properties"]["proxyWidgets"]


def test_links_join_slots_of_the_nodes_own_types(host, definition):
    nodes = {node["id"]: node for node in definition["nodes"]}
    info = host.object_info(*{node["type"] for node in nodes.values()})
    for link in definition["links"]:
        if link["origin_id"] == INPUT:
            assert definition["inputs"][link["origin_slot"]]["linkIds"] == [link["id"]]
        else:
            origin = nodes[link["origin_id"]]
            assert info[origin["type"]]["output"][link["origin_slot"]] == link["type"]
            assert link["id"] in origin["outputs"][link["origin_slot"]]["links"]
        if link["target_id"] == OUTPUT:
            assert definition["outputs"][link["target_slot"]]["linkIds"] == [link["id"]]
        else:
            target = nodes[link["target_id"]]
            slot = target["inputs"][link["target_slot"]]
            inputs = info[target["type"]]["input"]
            assert slot["link"] == link["id"]
            assert (inputs["required"] | inputs.get("optional", {}))[slot["name"]][0] == link["type"]


def test_its_loaders_offer_the_models_of_the_workflows(definition):
    workflow = json.loads((REPO / "workflows/ELLA text to image.json").read_text(encoding="utf-8"))
    offered = {
        node["type"]: node["properties"]["models"] for node in workflow["nodes"] if "models" in node["properties"]
    }
    loaders = [node for node in definition["nodes"] if node["type"] in offered]
    assert {node["type"] for node in loaders} == {"LoadELLA", "LoadELLATextEncoder"}
    for node in loaders:
        assert node["properties"]["models"] == offered[node["type"]]
        assert node["widgets_values"] == [offered[node["type"]][0]["name"]]
    assert {node["properties"]["cnr_id"] for node in definition["nodes"]} == {"ella"}


def with_the_blueprint(workflow, blueprint):
    """ELLA text to image with the blueprint's node in place of its ELLA nodes, and the same prompts."""
    graph = copy.deepcopy(workflow)
    (apply,) = (node for node in graph["nodes"] if node["type"] == "ELLAApplyConditioning")
    texts = [node["widgets_values"][0] for node in graph["nodes"] if node["type"] == "ELLAT5TextEncode"]
    replaced = ("LoadELLA", "LoadELLATextEncoder", "ELLAT5TextEncode", "ELLAApplyConditioning")
    gone = {node["id"] for node in graph["nodes"] if node["type"] in replaced}
    blueprint = copy.deepcopy(blueprint)
    (node,) = blueprint["nodes"]
    node["id"] = apply["id"]
    node["inputs"][0]["link"] = apply["inputs"][0]["link"]
    for ours, theirs in zip(node["outputs"], apply["outputs"], strict=True):
        ours["links"] = theirs["links"]
    graph["nodes"] = [entry for entry in graph["nodes"] if entry["id"] not in gone] + [node]
    graph["links"] = [link for link in graph["links"] if link[1] not in gone - {apply["id"]}]
    graph["definitions"] = blueprint["definitions"]
    encoders = [entry for entry in graph["definitions"]["subgraphs"][0]["nodes"] if entry["type"] == "ELLAT5TextEncode"]
    for encoder, text in zip(encoders, texts, strict=True):
        encoder["widgets_values"][0] = text
    return graph


def test_it_draws_what_its_nodes_draw(host, model_files, blueprint):
    workflow = json.loads((REPO / "workflows/ELLA text to image.json").read_text(encoding="utf-8"))
    info = host.object_info(*{node["type"] for node in workflow["nodes"]} - {"MarkdownNote"})
    pictures = []
    for graph in (workflow, with_the_blueprint(workflow, blueprint)):
        prompt = convert_ui_to_api(graph, info)
        assert len(prompt) == len(workflow["nodes"]) - 2
        for node in prompt.values():
            node["inputs"].update({name: SMALL[name] for name in node["inputs"] if name in SMALL})
            if node["class_type"] == "EmptyLatentImage":
                node["inputs"].update(width=64, height=64)
            if node["class_type"] == "KSampler":
                node["inputs"].update(steps=3)
        (output,) = (number for number, node in prompt.items() if node["class_type"] == "SaveImage")
        (saved,) = host.execute(prompt)[output]["images"]
        with Image.open(Path(folder_paths.get_output_directory()) / saved["subfolder"] / saved["filename"]) as picture:
            pictures.append(numpy.asarray(picture))
    assert pictures[0].shape == (64, 64, 3) and pictures[0].std() > 1
    assert (pictures[0] == pictures[1]).all()
