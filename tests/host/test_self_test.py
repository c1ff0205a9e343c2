"""ELLA Diagnose's self_test: all seams hold in this ComfyUI, and one that is broken is told."""

import pytest
import torch
from test_diagnose import assert_private, diagnose, section

SEAMS = [
    "tokens exact at every evaluation",
    "ControlNet sees the same tokens",
    "images of a batch",
    "Concat with CLIP, either way round",
    "a prompt that a node keeps in the MODEL",
    "a model without Apply ELLA is refused",
]


def lines(host):
    *found, took = section(diagnose(host, self_test=True), "Self-test")
    assert took.startswith("took ")
    return dict(line.split(": ", 1) for line in found)


def test_every_seam_holds(host):
    assert lines(host) == dict.fromkeys(SEAMS, "held")


def test_it_runs_when_it_is_wanted(host):
    assert "Self-test" not in diagnose(host).split("\n")
    page = diagnose(host, self_test=True)
    assert "Self-test" in page.split("\n")
    assert_private(page)


def test_it_runs_in_the_executor(host):
    """Under inference mode, and asked for by an API prompt."""
    prompt = {"1": {"class_type": "ELLADiagnose", "inputs": {"self_test": True}}}
    (page,) = host.execute(prompt)["1"]["text"]
    assert all(f"{seam}: held" in page for seam in SEAMS)


def test_an_artist_s_random_numbers_stay(host):
    torch.manual_seed(5)
    expected = torch.randn(3)
    torch.manual_seed(5)
    host.core("host.diagnose.small_models").small_unet()
    host.core("host.diagnose.small_models").small_connector()
    assert torch.equal(torch.randn(3), expected)


def passes_on(executor, *args, **kwargs):
    return executor(*args, **kwargs)


BROKEN = {
    "the timestep is wrong": (
        "host.run_tokens",
        "RunTokens.time",
        ["tokens", "ControlNet", "images", "Concat", "a prompt"],
    ),
    "evaluations are not seen": (
        "host.sampler_patch",
        "set_timestep_tokens",
        ["tokens", "ControlNet", "images", "Concat", "a prompt"],
    ),
    "text states are not refused": ("host.conditioning", "UnappliedTextStates.process_cond", ["a model without"]),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_seam_is_told(host, monkeypatch, broken):
    module, name, seams = BROKEN[broken]
    owner, _, attribute = name.rpartition(".")
    target = getattr(host.core(module), owner) if owner else host.core(module)
    real = getattr(target, attribute)
    replacement = {
        "the timestep is wrong": lambda self, timesteps, *rest: real(
            self, [max(0, one - 20) for one in timesteps], *rest
        ),
        "evaluations are not seen": passes_on,
        "text states are not refused": lambda self, batch_size, **kwargs: self,
    }[broken]
    monkeypatch.setattr(target, attribute, replacement)
    for seam, said in lines(host).items():
        assert said.startswith("DID NOT HOLD: ") == seam.startswith(tuple(seams)), (seam, said)


def test_a_host_without_the_parts_is_told(host, monkeypatch):
    import comfy.supported_models

    monkeypatch.delattr(comfy.supported_models, "SD15")
    (line,) = section(diagnose(host, self_test=True), "Self-test")
    assert line.startswith("could not be tried: AttributeError")


def test_who_took_a_node_id_is_named(host, tmp_path, monkeypatch):
    import nodes

    monkeypatch.setattr(nodes, "NODE_CLASS_MAPPINGS", dict(nodes.NODE_CLASS_MAPPINGS))
    assert not any("node ids" in line for line in section(diagnose(host), "To do"))
    pack = tmp_path / "ComfyUI_ExtraModels"
    pack.mkdir()
    (pack / "__init__.py").write_text(
        "class A:\n    pass\n\nNODE_CLASS_MAPPINGS = {'ELLAT5TextEncode': A, 'LoadELLA': A}\n"
    )
    assert host.loop.run_until_complete(nodes.load_custom_node(str(pack)))
    (line,) = [line for line in section(diagnose(host), "To do") if "node ids" in line]
    assert line.startswith(
        "Another pack, ComfyUI_ExtraModels, registered this pack's node ids LoadELLA, ELLAT5TextEncode"
    )
