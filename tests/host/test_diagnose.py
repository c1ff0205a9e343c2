"""ELLA Diagnose: what its page says of good, bad and missing files, that it never fails, and that it tells no paths."""

import json
import logging
import os
import shutil
import subprocess
from pathlib import Path

import folder_paths
import pytest
import tomlkit
import torch
from safetensors.torch import save_file

REPO = Path(__file__).resolve().parents[2]
VISION = {"model_type": "vit", "hidden_size": 32, "num_hidden_layers": 2}  # the config of a model for pictures
SECRET = "jane-doe"
BAD_FILES = {
    "empty.safetensors": (b"", "0 bytes, empty.safetensors is empty"),
    "page.safetensors": (b"<!DOCTYPE html><html></html>", "is a web page"),
    "cut.safetensors": (b"\x40\x00\x00\x00\x00\x00\x00\x00{", "can't be read as safetensors"),
    "noise.safetensors": (bytes(range(256)) * 9, "can't be read as safetensors"),
    "a`quote\nand a line.safetensors": (b"", "is empty"),
}


def diagnose(host, **wired):
    (page,) = host.run("ELLADiagnose", **wired)
    return page


def section(page, title):
    """The lines under a title of the page."""
    lines = page.split("\n")
    start = lines.index(title) + 1
    end = lines.index("", start) if "" in lines[start:] else len(lines)
    return [line.strip() for line in lines[start:end]]


def line_of(page, name):
    """The first line that starts with a name and a colon."""
    return next(line.strip() for line in page.split("\n") if line.strip().startswith(name + ": "))


@pytest.fixture
def folders(host, tmp_path, monkeypatch):
    """Empty model folders of ELLA's under a private name, one of them outside models; {folder name: path}."""
    monkeypatch.setattr(folder_paths, "models_dir", str(tmp_path / SECRET / "models"))
    paths = {
        "ella": tmp_path / SECRET / "models/ella",
        "ella_encoder": tmp_path / SECRET / "models/ella_encoder",
        "text_encoders": tmp_path / f"disk of {SECRET}" / "text_encoders",
    }
    for name, path in paths.items():
        path.mkdir(parents=True)
        monkeypatch.setitem(folder_paths.folder_names_and_paths, name, ([str(path)], {".safetensors", ".sft"}))
        monkeypatch.delitem(folder_paths.filename_list_cache, name, raising=False)
    yield paths
    for name in paths:
        folder_paths.filename_list_cache.pop(name, None)


def assert_private(page, *more):
    for word in (SECRET, os.path.expanduser("~"), str(REPO), str(folder_paths.base_path), *more):
        assert word not in page
    assert "```" not in page and len(max(page.split("\n"), key=len)) < 600


def test_nothing_installed_and_nothing_wired(host, folders):
    page = diagnose(host)
    todo = section(page, "To do")
    assert any(line.startswith("No connector: put ella-sd1.5-tsc-t5xl.safetensors") for line in todo)
    assert any(line.startswith("No text encoder for the connector: put model.safetensors") for line in todo)
    assert section(page, "Connectors, for Load ELLA") == ["none"]
    assert section(page, "Wired") == ["ella: nothing", "clip: nothing", "model: nothing"]
    assert section(page, "Model folders")[:3] == [
        "ella: models/ella is there",
        "ella_encoder: models/ella_encoder is there",
        "text_encoders: (extra path 1) is there",
    ]
    assert_private(page)


def test_folders_that_are_gone(host, folders):
    for path in folders.values():
        path.rmdir()
    assert "ella: models/ella is not there" in section(diagnose(host), "Model folders")


def test_versions(host):
    page = diagnose(host)
    version = tomlkit.parse((REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    import comfyui_version

    first = page.split("\n")[0]
    assert first.startswith(f"ELLA {version}") and first.endswith(f" on ComfyUI {comfyui_version.__version__}")
    assert f"torch {torch.__version__}, transformers " in section(page, "Versions")[1]
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=REPO, capture_output=True, text=True, check=False)
    if (REPO / ".git").is_dir() and commit.returncode == 0:
        assert f"(commit {commit.stdout[:7]})" in first


def test_good_files_and_wires(host, model_files, model, ella, t5):
    page = diagnose(host, ella=ella, clip=t5, model=model)
    assert "reads text states of width 32, makes 64 tokens of width 768; 2 blocks, 8 heads" in line_of(
        page, "tiny.safetensors"
    )
    assert "F16, a T5 encoder with text states of width 32" in line_of(page, "tiny-t5")
    assert section(page, "Which text encoder fits which connector") == ["tiny.safetensors: tiny-t5"]
    assert line_of(page, "ella").startswith("ella: tiny.safetensors, tsc, reads text states of width 32")
    assert line_of(page, "clip").startswith("clip: ELLA's text encoder, width 32, torch.float16")
    assert "attends to tokens of width 768" in line_of(page, "model")
    assert line_of(page, "model").endswith("without Apply ELLA")
    assert not [line for line in section(page, "To do") if "width" in line or "No " in line]


def test_the_connector_s_dtype_follows_the_model(host, ella, model):
    half = model.clone()
    dtype = model.model.get_dtype_inference()
    try:
        half.model.manual_cast_dtype = torch.float16
        line = line_of(diagnose(host, ella=ella, model=half), "model")
        assert "computes in torch.float16" in line and "beside it in torch.float16" in line
    finally:
        half.model.manual_cast_dtype = None
    assert model.model.get_dtype_inference() == dtype


def test_a_patched_model_is_told(host, applied):
    assert line_of(diagnose(host, model=applied[0]), "model").endswith("with Apply ELLA")


def test_bad_files_are_a_line_each(host, folders):
    for name, (content, _) in BAD_FILES.items():
        (folders["ella"] / name).write_bytes(content)
        (folders["ella_encoder"] / name).write_bytes(content)
    for name in ("ella", "ella_encoder"):
        (folders[name] / "gone.safetensors").symlink_to(folders[name] / "nowhere")
    save_file({"lora_unet.lora_down.weight": torch.zeros(2, 2)}, folders["ella"] / "lora.safetensors")
    (folders["ella"] / "old.pt").write_bytes(b"PK")
    page = diagnose(host)
    connectors = section(page, "Connectors, for Load ELLA")
    encoders = section(page, "Text encoders, for Load ELLA Text Encoder")
    for name, (_, expected) in BAD_FILES.items():
        shown = " ".join(name.replace("`", "'").split())
        for lines in (connectors, encoders):
            (line,) = [line for line in lines if line.startswith(shown + ": ")]
            assert expected in line
    assert any("lora.safetensors is a LoRA, where an ELLA connector is expected" in line for line in connectors)
    assert "gone.safetensors: a link to a file that is not there" in connectors
    assert "gone.safetensors: a link to a file that is not there" in encoders
    assert "Only .safetensors files are listed, and models/ella holds old.pt." in section(page, "To do")
    assert any(line.startswith("No connector: ") for line in section(page, "To do"))
    assert_private(page)


def test_bad_folders_of_a_text_encoder(host, folders, model_files):
    good = model_files / "ella_encoder/tiny-t5"
    cases = {
        "config is no JSON": lambda folder: (folder / "config.json").write_text("{"),
        "config is a list": lambda folder: (folder / "config.json").write_text("[]"),
        "another model": lambda folder: (folder / "config.json").write_text(json.dumps(VISION)),
        "another size": lambda folder: (folder / "config.json").write_text(
            json.dumps({"model_type": "t5", "d_model": 7})
        ),
        "no weights": lambda folder: (folder / "model.safetensors").unlink(),
        "broken index": lambda folder: (folder / "model.safetensors").rename(folder / "model.safetensors.index.json"),
        "no tokenizer": lambda folder: (folder / "tokenizer.json").unlink(),
    }
    for name, damage in cases.items():
        damage(Path(shutil.copytree(good, folders["ella_encoder"] / name)))
    page = diagnose(host)
    lines = section(page, "Text encoders, for Load ELLA Text Encoder")
    for name in cases:
        (line,) = [line for line in lines if line.startswith(name + ": ")]
        assert "a T5 encoder with text states" not in line
    assert any("a vit model without a word embedding" in line for line in lines)
    assert any("config.json with d_model 7 and weights with 32" in line for line in lines)
    assert_private(page)


def test_other_people_s_text_encoders_are_no_errors(host, folders, model_files, random_models):
    clip = {"text_model.encoder.layers.0.self_attn.q_proj.weight": torch.zeros(4, 4)}
    save_file(clip, folders["text_encoders"] / "clip_l.safetensors")
    config = folders["text_encoders"] / "vit"
    config.mkdir()
    (config / "config.json").write_text(json.dumps(VISION))
    save_file(clip, config / "model.safetensors")
    (config / "tokenizer.json").write_text("{}")
    shutil.copytree(model_files / "ella_encoder/tiny-t5", folders["text_encoders"] / "t5")
    connector = host.core("connectors.tsc")
    random_models.make_connector(str(folders["ella"] / "wide.safetensors"), connector, depth=1, width=64, text_dim=99)
    page = diagnose(host)
    lines = section(page, "Text encoders, for Load ELLA Text Encoder")
    assert len(lines) == 2, lines
    assert lines[0].startswith("t5: ") and "width 32" in lines[0]
    assert lines[1].startswith("for other models: ") and "vit (" in lines[1]
    assert "clip_l.safetensors (" in lines[1] and "a CLIP text encoder" in lines[1] and "expected" not in lines[1]
    assert section(page, "Which text encoder fits which connector") == ["wide.safetensors: none that is here"]
    assert any(line.startswith("No text encoder for the connector: ") for line in section(page, "To do"))
    assert_private(page)


def test_a_hundred_files_stay_one_page(host, folders):
    save_file({"connector.perceiver_blocks.0.x": torch.zeros(2, 2)}, folders["ella"] / "0.safetensors")
    for number in range(1, 100):
        (folders["ella"] / f"{number}.safetensors").symlink_to(folders["ella"] / "0.safetensors")
        save_file({"resblocks.x": torch.zeros(2)}, folders["text_encoders"] / f"{number}.safetensors")
    page = diagnose(host)
    assert section(page, "Connectors, for Load ELLA")[-1] == "and 80 more"
    assert "and 93 more" in section(page, "Text encoders, for Load ELLA Text Encoder")[-1]
    assert page.count("\n") < 80


def test_other_objects_on_the_wires(host, checkpoint, ella, oracle):
    page = diagnose(host, ella={"ELLA": oracle}, clip=checkpoint[1], model=object())
    todo = section(page, "To do")
    assert "The wired ella does not come from this pack's Load ELLA; wire that one." in todo
    assert "The wired clip does not come from Load ELLA Text Encoder; wire that one." in todo
    assert line_of(page, "ella") == "ella: an object of another pack (dict)"
    assert line_of(page, "model") == "model: can't be read: AttributeError"
    assert line_of(page, "clip").startswith("clip: another CLIP (")
    assert section(diagnose(host, ella=ella, clip=object(), model=object()), "Versions")


def test_what_is_wired_does_not_fit(host, folders, model, t5, random_models):
    connector = host.core("connectors.tsc")
    path = folders["ella"] / "wide.safetensors"
    random_models.make_connector(str(path), connector, depth=1, width=64, text_dim=99)
    wide = host.core("host.connector_model").load_connector_model(str(path))
    todo = section(diagnose(host, ella=wide, clip=t5, model=model), "To do")
    assert any("attends to tokens of width 768 and wide.safetensors makes tokens of width 64" in line for line in todo)
    assert any(
        "makes text states of width 32, and wide.safetensors reads text states of width 99" in line for line in todo
    )


def test_a_prompt_cache_s_text_encoder_is_not_loaded(host, model_files, own_encoder):
    clip = host.run("LoadELLATextEncoder", text_encoder_name=own_encoder, prompt_cache=True)[0]
    page = diagnose(host, clip=clip)
    assert line_of(page, "clip").endswith("width 32, torch.float16, its weights not read so far")
    assert not host.core("host.clip").encoder_of(clip).has_weights


def test_an_earlier_ella_pack_is_named(host, tmp_path, monkeypatch):
    import nodes

    monkeypatch.setattr(nodes, "NODE_CLASS_MAPPINGS", dict(nodes.NODE_CLASS_MAPPINGS))
    pack = tmp_path / "ComfyUI-ELLA"
    pack.mkdir()
    (pack / "__init__.py").write_text("class A:\n    pass\n\nNODE_CLASS_MAPPINGS = {'EllaApply': A, 'ELLALoader': A}\n")
    assert not any("Another ELLA pack" in line for line in section(diagnose(host), "To do"))
    assert host.loop.run_until_complete(nodes.load_custom_node(str(pack)))
    (line,) = [line for line in section(diagnose(host), "To do") if "Another ELLA pack" in line]
    assert line.startswith("Another ELLA pack, ComfyUI-ELLA, is installed (ELLALoader, EllaApply).")


def test_options_of_the_host_are_told(host, monkeypatch):
    from comfy.cli_args import args

    monkeypatch.setattr(args, "fp8_e4m3fn_text_enc", True)
    monkeypatch.setattr(args, "reserve_vram", 2.5)
    (line,) = [line for line in section(diagnose(host), "Device") if line.startswith("ComfyUI's options: ")]
    assert "fp8_e4m3fn_text_enc" in line and "reserve_vram=2.5" in line and str(args.base_directory) not in line


def test_a_run_looks_at_the_files_each_time(host, folders, caplog):
    prompt = {"1": {"class_type": "ELLADiagnose", "inputs": {}}}
    with caplog.at_level(logging.INFO):
        (first,) = host.execute(prompt)["1"]["text"]
    assert [record.getMessage() for record in caplog.records].count(first) == 1
    assert "new.safetensors" not in first
    (folders["ella"] / "new.safetensors").write_bytes(b"")
    (second,) = host.execute(prompt)["1"]["text"]
    assert "new.safetensors: 0 bytes" in second


def test_it_is_never_cached(host):
    cls = host.node_classes["ELLADiagnose"]
    assert cls.fingerprint_inputs() != cls.fingerprint_inputs()
    assert cls.GET_SCHEMA().is_output_node


def test_paths_are_hidden_however_an_error_writes_them(host, folders):
    paths = host.core("host.diagnose.public_paths").PublicPaths(["ella", "text_encoders"])
    inner, outer = folders["ella"], folders["text_encoders"]
    assert paths.hide(f"{inner}/a.safetensors") == "models/ella/a.safetensors"
    assert paths.hide(f"No such file: '{outer}/b'") == "No such file: '(extra path 1)/b'"
    assert paths.hide(f"in {Path.home() / 'x'}") == "in ~/x"
    paths.names[r"C:\Users\Jane Doe\ella"] = "(extra path 2)"
    assert paths.hide(repr(r"C:\Users\Jane Doe\ella\b")) == r"'(extra path 2)\\b'"


def test_a_text_encoder_without_a_connector_is_no_fault(host, folders, random_models):
    """A language model as wide as FLAN-T5-XL is what the missing connector will read."""
    random_models.make_text_encoder(str(folders["text_encoders"] / "flan.safetensors"), num_layers=1)
    todo = section(diagnose(host), "To do")
    assert any(line.startswith("No connector: ") for line in todo)
    assert not any(line.startswith("No text encoder") for line in todo)
