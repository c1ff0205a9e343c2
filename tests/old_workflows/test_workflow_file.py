"""The files that the converter reads and writes: JSON and pictures, whole or not at all."""

import copy
import json
import os
import struct
import zlib

import pytest
from editing import with_nodes
from old_graphs import GRAPHS, as_ui

from old_workflows import png_text
from old_workflows.convert import convert
from old_workflows.errors import WorkflowError
from old_workflows.png_text import PNG
from old_workflows.workflow_file import convert_file, graph_of


def converted(workflow):
    workflow = copy.deepcopy(workflow)
    convert(graph_of(workflow, "test"))
    return workflow


# ---- pictures


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
    assert json.loads((tmp_path / "both.json").read_text()) == converted(as_ui(GRAPHS["encode"]))
    assert json.loads((tmp_path / "prompt.json").read_text()) == converted(GRAPHS["encode"])


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
    assert json.loads(path.read_text()) == converted(GRAPHS["encode"])
    with pytest.raises(WorkflowError, match="ends in .json"):
        convert_file(path, tmp_path / "new.png")
    with pytest.raises(WorkflowError, match="can't be read"):
        convert_file(tmp_path / "none.json", tmp_path / "new.json")
    path.write_text(json.dumps(GRAPHS["encode"]))
    with pytest.raises(WorkflowError, match="can't be written"):
        convert_file(path, tmp_path / "missing folder" / "new.json")


PROMPT = (b"tEXt", b"prompt\0" + json.dumps(GRAPHS["encode"]).encode())
BROKEN = {
    "half a JSON": (b"tEXt", b'workflow\0{"nodes": ['),
    "another JSON": (b"tEXt", b'workflow\0{"version": 1}'),
    "no nodes": (b"tEXt", b'workflow\0{"nodes": [{"id": 1}], "links": []}'),
    "damaged": (b"zTXt", b"workflow\0\0nonsense"),
    "not UTF-8": (b"iTXt", b"workflow\0\0\0\0\0\xff\xfe"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_picture_with_a_broken_workflow_gives_its_prompt(case, tmp_path):
    for order in ((BROKEN[case], PROMPT), (PROMPT, BROKEN[case])):
        (tmp_path / "old.png").write_bytes(png(*order))
        lines = convert_file(tmp_path / "old.png", tmp_path / "new.json", overwrite=True)
        assert "workflow is broken" in lines[0]
        assert json.loads((tmp_path / "new.json").read_text()) == converted(GRAPHS["encode"])


def test_a_text_that_unpacks_to_more_than_a_workflow_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(png_text, "LONGEST", 1000)
    (tmp_path / "old.png").write_bytes(png((b"zTXt", b"workflow\0\0" + zlib.compress(bytes(1001)))))
    with pytest.raises(WorkflowError, match="damaged picture"):
        convert_file(tmp_path / "old.png", tmp_path / "new.json")


# ---- JSON


def test_numbers_that_a_browser_can_t_read_become_null(tmp_path):
    text = json.dumps(with_nodes("encode", n20={"class_type": "X", "inputs": {"a": 1}, "is_changed": [7, 7, 7, 7.5]}))
    (tmp_path / "old.json").write_text(text.replace("[7, 7, 7, 7.5]", "[NaN, Infinity, -1e999, 7.5]"))
    convert_file(tmp_path / "old.json", tmp_path / "new.json")
    new = json.loads((tmp_path / "new.json").read_text(), parse_constant=pytest.fail)
    assert new["20"]["is_changed"] == [None, None, None, 7.5]


@pytest.mark.parametrize("form", [dict, as_ui])
@pytest.mark.parametrize("key", ["prompt", "workflow"])
def test_what_is_around_a_workflow_is_taken_off(form, key, tmp_path):
    workflow = form(GRAPHS["encode"])
    (tmp_path / "old.json").write_text(json.dumps({"client_id": "x", key: workflow}))
    lines = convert_file(tmp_path / "old.json", tmp_path / "new.json")
    assert json.loads((tmp_path / "new.json").read_text()) == converted(workflow) and f'"{key}"' in lines[0]


@pytest.mark.parametrize("depth", [300, 100_000])
@pytest.mark.parametrize("pair", ["[]", '{"a":}'])
def test_deep_nesting_is_a_sentence(depth, pair, tmp_path):
    before, after = pair[:-1], pair[-1]
    text = json.dumps(as_ui(GRAPHS["encode"]) | {"extra": {"deep": 7}})
    (tmp_path / "old.json").write_text(text.replace("7}", before * depth + "7" + after * depth + "}"))
    with pytest.raises(WorkflowError, match="nested deeper than 200 levels"):
        convert_file(tmp_path / "old.json", tmp_path / "new.json")


# ---- writing


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def old(tmp_path):
    path = tmp_path / "old.json"
    path.write_text(json.dumps(GRAPHS["encode"]))
    return path


def test_no_file_of_somebody_else_is_touched(old):
    for name in ("new.json.part", "new.part", ".part"):
        (old.parent / name).write_text("somebody's")
    convert_file(old, old.parent / "new.json")
    assert names_in(old.parent) == [".part", "new.json", "new.json.part", "new.part", "old.json"]
    assert (old.parent / "new.json.part").read_text() == "somebody's"


def test_no_link_is_followed_or_replaced_unasked(old):
    target, link = old.parent / "target.txt", old.parent / "new.json"
    try:
        link.symlink_to(target)
    except OSError:
        pytest.skip("this system lets users make no links")
    with pytest.raises(WorkflowError, match="is there already"):  # also where it leads nowhere
        convert_file(old, link)
    assert link.is_symlink() and not target.exists()
    target.write_text("before")
    convert_file(old, link, overwrite=True)
    assert link.is_symlink() and json.loads(target.read_text()) == converted(GRAPHS["encode"])
    assert names_in(old.parent) == ["new.json", "old.json", "target.txt"]


def test_a_circle_of_links_is_a_sentence(old):
    one, two = old.parent / "one.json", old.parent / "two.json"
    try:
        one.symlink_to(two)
        two.symlink_to(one)
    except OSError:
        pytest.skip("this system lets users make no links")
    with pytest.raises(WorkflowError, match="can't be written"):
        convert_file(old, one, overwrite=True)
    with pytest.raises(WorkflowError, match="can't be read"):
        convert_file(one, old.parent / "new.json")


def test_nothing_is_left_of_a_file_that_can_t_be_written(old, monkeypatch):
    (old.parent / "new.json").mkdir()
    with pytest.raises(WorkflowError, match="can't be written"):
        convert_file(old, old.parent / "new.json", overwrite=True)
    assert names_in(old.parent) == ["new.json", "old.json"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_a_pipe_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "old.json")
    with pytest.raises(WorkflowError, match="is no file"):
        convert_file(tmp_path / "old.json", tmp_path / "new.json")
