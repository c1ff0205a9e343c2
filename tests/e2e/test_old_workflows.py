"""Workflows of the earlier ELLA packs in the real frontend: its Replace button, and what the converter wrote."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from old_graphs import GRAPHS, as_ui

COMMAND = Path(__file__).resolve().parents[2] / "scripts/convert_workflow.py"
MODELS = {
    "CheckpointLoaderSimple": "v1-5-pruned-emaonly-fp16.safetensors",
    "ELLALoader": "ella-sd1.5-tsc-t5xl.safetensors",
    "T5TextEncoderLoader #ELLA": "models--google--flan-t5-xl--text_encoder_model.safetensors",
}


def old_workflow(name):
    workflow = as_ui(GRAPHS[name])
    for entry in workflow["nodes"]:
        if entry["type"] in MODELS:
            entry["widgets_values"][0] = MODELS[entry["type"]]
    return workflow


def load(page, workflow):
    page.evaluate("workflow => window.app.loadGraphData(workflow)", workflow)
    page.wait_for_timeout(1500)


def queued(page, server):
    """The history of a run of the graph as it is in the editor."""
    prompt = page.evaluate("async () => (await window.app.graphToPrompt()).output")
    return server.run(prompt)


def kinds(page):
    return page.evaluate("() => window.app.graph.nodes.map(node => node.type)")


def replace_all(page):
    page.get_by_test_id("error-overlay-see-errors").click()
    page.get_by_role("button", name="Replace All").click()
    page.wait_for_timeout(1000)


def converted(workflow, folder):
    """The workflow after the command, as a user runs it."""
    (folder / "old.json").write_text(json.dumps(workflow))
    subprocess.run([sys.executable, str(COMMAND), str(folder / "old.json"), "-o", str(folder / "new.json")], check=True)
    return json.loads((folder / "new.json").read_text())


def check_opened(page, workflow):
    """Asserts that the frontend took every node and every link."""
    assert sorted(kinds(page)) == sorted(entry["type"] for entry in workflow["nodes"])
    assert not page.evaluate("() => window.app.graph.nodes.some(node => node.has_errors)")
    links = page.evaluate(
        "() => [...window.app.graph.links.values()].map(l => [+l.origin_id, l.origin_slot, +l.target_id])"
    )
    assert sorted(links) == sorted(link[1:4] for link in workflow["links"])


def test_an_old_graph_is_offered_replace_and_runs_afterwards(page, server, screenshot):
    load(page, old_workflow("apply_without_schedule"))
    replace_all(page)
    screenshot()
    assert not any(kind in MODELS and kind != "CheckpointLoaderSimple" or "Ella" in kind for kind in kinds(page))
    assert server.picture(queued(page, server)).is_file()


def test_what_replace_leaves_the_command_finishes(page, server, screenshot, tmp_path):
    load(page, old_workflow("apply_with_timesteps"))
    replace_all(page)
    assert [kind for kind in kinds(page) if "Ella" in kind] == ["SetEllaTimesteps"]
    workflow = converted(page.evaluate("() => window.app.graph.serialize()"), tmp_path)
    load(page, workflow)
    screenshot()
    check_opened(page, workflow)
    assert server.picture(queued(page, server)).is_file()


@pytest.mark.parametrize("name", ["encode", "align_your_steps"])
def test_a_converted_graph_opens_and_runs(page, server, screenshot, tmp_path, name):
    workflow = converted(old_workflow(name), tmp_path)
    load(page, workflow)
    page.evaluate("() => window.app.extensionManager.command.execute('Comfy.Canvas.FitView')")
    page.wait_for_timeout(500)
    screenshot()
    check_opened(page, workflow)
    assert server.picture(queued(page, server)).is_file()
