"""UNet calls of a step: two where the positive and the negative have other numbers of tokens, which is told once."""

import json
import logging
from pathlib import Path

import pytest
import torch
from comfy.patcher_extension import WrappersMP
from sampling import ksample

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows"


@pytest.fixture
def token_counts(host):
    module = host.core("host.token_counts")
    module.tell.cache_clear()
    return module


def unet_calls(host, model, positive, negative, steps=2):
    model, calls = model.clone(), []
    model.add_wrapper_with_key(
        WrappersMP.DIFFUSION_MODEL,
        "count",
        lambda executor, *args, **kwargs: (calls.append(1), executor(*args, **kwargs))[1],
    )
    ksample(host, model, positive, negative, steps=steps)
    return len(calls) / steps


@pytest.mark.parametrize("sides, calls", [((), 1), (("clip_positive",), 2), (("clip_positive", "clip_negative"), 1)])
def test_what_a_step_takes_and_what_is_told(
    host, token_counts, model, ella, text_states, clip_conds, caplog, sides, calls
):
    inputs = dict(zip(("positive", "negative"), text_states)) | {
        side: clip_conds[side == "clip_negative"] for side in sides
    }
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            applied = host.run("ELLAApplyConditioning", model=model, ella=ella, **inputs)
    told = [record.getMessage() for record in caplog.records if "twice in each step" in record.getMessage()]
    assert unet_calls(host, *applied) == calls
    assert len(told) == calls - 1
    if told:
        assert (
            "141 tokens for the positive and 64 for the negative" in told[0] and "wire a CLIP Text Encode to" in told[0]
        )
        assert "clip_negative too" in told[0]


def test_the_host_s_own_rule(token_counts):
    import comfy.conds

    def context(count):
        return comfy.conds.CONDCrossAttn(torch.zeros(1, count, 8))

    for count in (1, 16, 64, 77, 128, 141, 154, 218):
        for other in (1, 32, 64, 77, 141, 256):
            expected = context(count).can_concat(context(other))
            assert token_counts.fit_one_call(count, other) == bool(expected), (count, other)


@pytest.mark.parametrize("name", sorted(path.name for path in WORKFLOWS.glob("*.json")))
def test_templates_take_one_call(name):
    """Each Apply ELLA of a template with a negative has CLIP tokens on both sides or on none."""
    for node in json.loads((WORKFLOWS / name).read_text(encoding="utf-8"))["nodes"]:
        if node["type"] != "ELLAApplyConditioning":
            continue
        wired = {found["name"] for found in node["inputs"] if found.get("link") is not None}
        if "negative" in wired:
            assert ("clip_positive" in wired) == ("clip_negative" in wired)
