"""The command that converts old workflows: what it refuses, the files it reads and writes."""

import copy
import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from old_graphs import GRAPHS, LORA, as_ui, node, official, sampler, timesteps

from old_workflows.convert import convert
from old_workflows.errors import WorkflowError
from old_workflows.png_text import PNG
from old_workflows.workflow_file import convert_file, graph_of

COMMAND = Path(__file__).resolve().parents[2] / "scripts/convert_workflow.py"


def converted(workflow):
    """(workflow, changes) of a converted workflow."""
    changes = convert(graph_of(workflow, "test"))
    return workflow, changes


# ---- refusals


def with_nodes(name, **nodes):
    return copy.deepcopy(GRAPHS[name]) | {number.removeprefix("n"): fields for number, fields in nodes.items()}


def other(kind, **inputs):
    return {"class_type": kind, "inputs": inputs, "_meta": {"title": kind}}


def ui_with(change, name="encode"):
    workflow = as_ui(GRAPHS[name])
    change(workflow, {entry["id"]: entry for entry in workflow["nodes"]})
    return workflow


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


# ---- files


def png(*chunks):
    """A PNG of one black pixel with text chunks (kind, body)."""
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)),
        *chunks,
        (b"IDAT", zlib.compress(b"\0\0")),
        (b"IEND", b""),
    ]
    return PNG + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )


def chunk(kind, keyword, workflow):
    text = json.dumps(workflow).encode()
    if kind == b"zTXt":
        return kind, keyword + b"\0\0" + zlib.compress(text)
    if kind == b"iTXt":
        return kind, keyword + b"\0\1\0\0\0" + zlib.compress(text)
    return kind, keyword + b"\0" + text


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt"])
def test_a_picture_gives_its_workflow_or_else_its_prompt(kind, tmp_path):
    prompt = chunk(kind, b"prompt", GRAPHS["encode"])
    (tmp_path / "both.png").write_bytes(png(prompt, chunk(kind, b"workflow", as_ui(GRAPHS["encode"]))))
    (tmp_path / "prompt.png").write_bytes(png(prompt))
    convert_file(tmp_path / "both.png", tmp_path / "both.json")
    convert_file(tmp_path / "prompt.png", tmp_path / "prompt.json")
    assert json.loads((tmp_path / "both.json").read_text()) == converted(as_ui(GRAPHS["encode"]))[0]
    assert json.loads((tmp_path / "prompt.json").read_text()) == converted(copy.deepcopy(GRAPHS["encode"]))[0]


BAD_FILES = {
    "no workflow": (png(), "carries no workflow"),
    "cut off": (png(chunk(b"tEXt", b"prompt", GRAPHS["encode"]))[:300], "carries no workflow|neither a JSON"),
    "damaged": (png((b"zTXt", b"workflow\0\0nonsense")), "damaged picture"),
    "a JPEG": (b"\xff\xd8\xff\xe0 JFIF", "neither a JSON file nor a PNG"),
    "half a JSON": (b'{"nodes": [', "neither a JSON file nor a PNG"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files_are_refused(case, tmp_path):
    data, message = BAD_FILES[case]
    (tmp_path / "old").write_bytes(data)
    with pytest.raises(WorkflowError, match=message):
        convert_file(tmp_path / "old", tmp_path / "new.json")
    assert not (tmp_path / "new.json").exists()


def test_files_are_not_written_over_unless_asked(tmp_path):
    path = tmp_path / "old.json"
    path.write_text(json.dumps(GRAPHS["encode"]))
    with pytest.raises(WorkflowError, match="--overwrite"):
        convert_file(path, path)
    assert json.loads(path.read_text()) == GRAPHS["encode"]
    convert_file(path, path, overwrite=True)
    assert json.loads(path.read_text()) == converted(copy.deepcopy(GRAPHS["encode"]))[0]
    with pytest.raises(WorkflowError, match="ends in .json"):
        convert_file(path, tmp_path / "new.png")
    with pytest.raises(WorkflowError, match="can't be read"):
        convert_file(tmp_path / "none.json", tmp_path / "new.json")
    path.write_text(json.dumps(GRAPHS["encode"]))
    with pytest.raises(WorkflowError, match="can't be written"):
        convert_file(path, tmp_path / "missing folder" / "new.json")


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
