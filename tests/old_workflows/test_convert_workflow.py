"""The command that converts old workflows: what it refuses, and what it needs."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
from editing import other, with_nodes
from old_graphs import GRAPHS, LORA, as_ui, node, official, sampler, timesteps

from old_workflows.convert import convert
from old_workflows.errors import WorkflowError
from old_workflows.workflow_file import convert_file, graph_of

COMMAND = Path(__file__).resolve().parents[2] / "scripts/convert_workflow.py"


def converted(workflow):
    """(workflow, changes) of a converted workflow."""
    changes = convert(graph_of(workflow, "test"))
    return workflow, changes


# ---- refusals


def ui_with(change, name="encode"):
    workflow = as_ui(GRAPHS[name])
    change(workflow, {entry["id"]: entry for entry in workflow["nodes"]})
    return workflow


WIRED_MODE = other("EllaAdvancedApply", **GRAPHS["clip_and_ella"]["6"]["inputs"] | {"mode": ["20", 0]})
REFUSED = {
    "no old node": ({"1": LORA}, "nothing to convert"),
    "diffusers": ({"1": other("ella_sampler")}, "samples with diffusers"),
    "another pack reads embeds": (with_nodes("encode", n20=other("SaveEmbeds", embeds=["4", 0])), "no node of the old"),
    "another pack loads the connector": (
        with_nodes("encode", n2=other("FancyLoader", name="x")),
        r"gets its ella from FancyLoader \(node 2\)",
    ),
    "no sampler": (with_nodes("encode", n7=other("SetNode", CONDITIONING=["13", 0])), "No sampler was found"),
    "blended": (
        with_nodes("encode", n20=other("ConditioningAverage", conditioning_to=["13", 0], conditioning_from=["14", 0])),
        "change at every step",
    ),
    "CLIP words without CLIP": (
        official(
            n12=timesteps(),
            n13=node("EllaTextEncode", ella="12:0", text_encoder="3:0", text="a", text_clip="b"),
            n7=sampler("1:0", "13:0", "13:0"),
        ),
        "no CLIP",
    ),
    "prompts inside the model": (
        with_nodes(
            "apply_without_schedule", n7=sampler("6:0", "20:0", "6:2"), n20=node("CLIPTextEncode", clip="1:1", text="")
        ),
        "not wired",
    ),
    "part of the sampling": (
        with_nodes(
            "apply_without_schedule", n6=other("EllaAdvancedApply", **GRAPHS["encode"]["12"]["inputs"], end_at=0.5)
        ),
        "limited to",
    ),
    "a mode that a wire brings": (
        with_nodes("clip_and_ella", n20=node("PrimitiveString", value="ELLA ONLY")) | {"6": WIRED_MODE},
        "gets its mode by a wire",
    ),
    "nothing wired": (
        with_nodes("encode", n13=other("EllaEncode", ella=["12", 0])),
        "nothing wired to its input embeds",
    ),
    "bypassed": (ui_with(lambda workflow, nodes: nodes[13].update(mode=4)), "is bypassed"),
    "inside a subgraph": (
        ui_with(
            lambda workflow, nodes: workflow.update(
                definitions={
                    "subgraphs": [{"id": "a-b", "name": "old ella", "nodes": [{"id": 3, "type": "EllaEncode"}]}]
                },
                nodes=[*workflow["nodes"], {"id": 30, "type": "a-b"}],
            )
        ),
        r'EllaEncode \(node 3\) lies inside the subgraph "old ella", .* unpack it',
    ),
    "inside a group node": (
        ui_with(
            lambda workflow, nodes: workflow.update(
                extra={"groupNodes": {"x": {"nodes": [{"type": "EllaEncode"}]}}},
                nodes=[*workflow["nodes"], {"id": 30, "type": "workflow>x"}],
            )
        ),
        'inside the group node "x", .* convert it to nodes',
    ),
    "links as objects": (ui_with(lambda workflow, nodes: workflow.update(links=[{"id": 1}])), "version 0.4"),
    "a node without a type": (ui_with(lambda workflow, nodes: nodes[7].pop("type")), "not built as ComfyUI saves"),
    "not a workflow": ([1, 2], "no ComfyUI workflow"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_understood_is_refused_and_nothing_is_written(case, tmp_path):
    workflow, message = REFUSED[case]
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    old.write_text(json.dumps(workflow))
    with pytest.raises(WorkflowError, match=message) as error:
        convert_file(old, new)
    text = str(error.value)
    assert "\n" not in text and text.endswith(".") and ". " not in text.removesuffix(".").replace("0.4 ", "")
    assert [path.name for path in tmp_path.iterdir()] == ["old.json"]


# ---- the command


def run_command(*arguments):
    """The command as a user runs it, in a Python without any package."""
    command = [sys.executable, "-S", "-E", str(COMMAND), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_command_needs_python_alone(tmp_path):
    (tmp_path / "old.json").write_text(json.dumps(as_ui(GRAPHS["encode"])))
    done = run_command(tmp_path / "old.json", "-o", tmp_path / "new.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == converted(as_ui(GRAPHS["encode"]))[1]
    refused = run_command(tmp_path / "new.json", "-o", tmp_path / "newer.json")
    assert (refused.returncode, refused.stdout) == (1, "") and "nothing to convert" in refused.stderr
    assert not (tmp_path / "newer.json").exists()


OLDER = """
import runpy, sys
sys.version_info, sys.version = (3, 8, 19, "final", 0), "3.8.19 (main)"
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_an_older_python_is_told_in_a_sentence(tmp_path):
    command = [sys.executable, "-c", OLDER, str(COMMAND), "old.json", "-o", str(tmp_path / "new.json")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("This command needs Python 3.9 or newer and was run by 3.8.19;")


def test_the_converter_is_written_for_python_3_9_and_the_command_for_any():
    for path in (COMMAND.parents[1] / "old_workflows").glob("*.py"):
        ast.parse(path.read_text(), feature_version=(3, 9))
        annotated = [found for found in ast.walk(ast.parse(path.read_text())) if isinstance(found, ast.AnnAssign)]
        assert not annotated or "from __future__ import annotations" in path.read_text()
    command = ast.parse(COMMAND.read_text(), feature_version=(3, 4))
    assert not any(isinstance(found, (ast.JoinedStr, ast.AnnAssign)) for found in ast.walk(command))
