"""What a file states never brings a path onto the page of ELLA Diagnose, nor more than its line."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

PERSON = "jane-doe"
PATHS = (f"/home/{PERSON}/models/x", f"C:\\Users\\{PERSON}\\x", f"\n\n/mnt/{PERSON}\u2028/x")


@pytest.fixture
def stating_files(host, model_files):
    """Files whose metadata, tensors, config and index state paths of a person; their names in the lists."""
    weights = load_file(model_files / "ella/tiny.safetensors")
    made = []
    for place, path in enumerate(PATHS):
        facts = {"architecture": path, "hidden_size": 32, "name": path}
        stated = {
            "heads": {"num_heads": path},
            "kind": {"ella.connector": path},
            "format": {"ella.format": path},
            "facts": {"ella.text_encoder": json.dumps(facts), "ella.base": path},
        }
        for name, metadata in stated.items():
            made.append(model_files / f"ella/states-{name}-{place}.safetensors")
            save_file(weights, made[-1], metadata)
        made.append(model_files / f"ella/states-tensor-{place}.safetensors")
        save_file(weights | {path: torch.zeros(1)}, made[-1])
        for name, change in {"model_type": {"model_type": path}, "d_ff": {"d_ff": path}}.items():
            made.append(copied_encoder(model_files, f"states-{name}-{place}"))
            config = json.loads((made[-1] / "config.json").read_text())
            (made[-1] / "config.json").write_text(json.dumps(config | change))
        made.append(copied_encoder(model_files, f"states-index-{place}"))
        (made[-1] / "model.safetensors").unlink()
        (made[-1] / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": path}}))
    yield [path.name for path in made]
    for path in made:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def copied_encoder(model_files, name):
    return shutil.copytree(model_files / "ella_encoder/tiny-t5", model_files / "ella_encoder" / name)


def test_no_path_that_a_file_states_reaches_the_page(host, stating_files, monkeypatch):
    monkeypatch.setattr(host.core("host.diagnose.diagnosis"), "MOST_ENTRIES", 1000)
    (page,) = host.run("ELLADiagnose")
    lines = [line.strip() for line in page.split("\n")]
    for name in stating_files:
        assert any(line.startswith(name + ": ") for line in lines)
    assert PERSON not in page
