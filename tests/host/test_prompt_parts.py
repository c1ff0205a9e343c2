"""BREAK in a prompt, and the token count on ELLA Text Encode, through the host's nodes and executor."""

import gc
import logging
import struct

import pytest
import torch

A, B = "a (red:1.3) fox in a green coat", "two white hens"
BOTH = f"{A}\nBREAK\n{B}\n"
TEXT = 3  # the host's BinaryEventTypes.TEXT
ENCODERS = {
    "ELLAT5TextEncode": lambda length: {"max_length": length},
    "CLIPTextEncode": lambda length: {},
}


def states_of(conditioning):
    ((states, _),) = conditioning
    return states


@pytest.mark.parametrize("node, length", [("ELLAT5TextEncode", 0), ("ELLAT5TextEncode", 6), ("CLIPTextEncode", 0)])
def test_parts_are_read_apart_and_joined(host, t5, node, length):
    """Bit for bit what core's Concat makes of the parts, each read by a node of its own; weights are the part's own."""
    options = ENCODERS[node](length)
    a, b, both, one = (host.run(node, clip=t5, text=text, **options)[0] for text in (A, B, BOTH, f"{A}\n{B}"))
    (joined,) = host.run("ConditioningConcat", conditioning_to=a, conditioning_from=b)
    assert torch.equal(states_of(both), states_of(joined))
    if length:
        assert states_of(both).shape[1] == 2 * length
    assert states_of(one).shape[1] != states_of(both).shape[1]


def test_the_report_shows_each_part(host, t5):
    (report,) = host.run("ELLATokenReport", clip=t5, text=BOTH, max_length=5)
    alone = [host.run("ELLATokenReport", clip=t5, text=text, max_length=5)[0] for text in (A, B)]
    assert report == (
        f"10 tokens in 2 parts, read apart and joined.\n\nPart 1 of 2\n{alone[0]}\n\nPart 2 of 2\n{alone[1]}"
    )


def test_the_attention_map_takes_one_part(host, t5, ella):
    with pytest.raises(ValueError, match="has 2 parts with BREAK between them.*map each part on its own"):
        host.run("ELLAAttentionMap", clip=t5, ella=ella, text=BOTH, max_length=0, steps=2, blocks="all", heads="all")


def shown_by(host, prompt):
    """Runs an API prompt; the texts that the browser shows on the nodes, by node id."""
    messages = host.server.messages
    while not messages.empty():
        messages.get_nowait()
    outputs = host.execute(prompt)
    host.loop.run_until_complete(asyncio_tick())
    texts = {}
    while not messages.empty():
        event, data, _ = messages.get_nowait()
        if event == TEXT:
            (length,) = struct.unpack(">I", data[:4])
            texts[data[4 : 4 + length].decode()] = data[4 + length :].decode()
    return texts, outputs


async def asyncio_tick():
    """What the run left for the loop to do is done before this returns."""


def counting(encoder, **texts):
    """An API prompt that reads texts, each as (prompt, max_length), and looks at what was read."""
    prompt = {
        "te": {"class_type": "LoadELLATextEncoder", "inputs": {"text_encoder_name": encoder, "prompt_cache": True}}
    }
    for name, (text, length) in texts.items():
        inputs = {"clip": ["te", 0], "text": text, "max_length": length}
        prompt[name] = {"class_type": "ELLAT5TextEncode", "inputs": inputs}
        prompt[f"{name}-seen"] = {"class_type": "PreviewAny", "inputs": {"source": [name, 0]}}
    return prompt


def test_the_count_is_shown_without_the_language_model(host, own_encoder, caplog):
    """The same from the prompt cache, which reads no weights; and the node is no output of the workflow."""
    import server

    assert int(server.BinaryEventTypes.TEXT) == TEXT
    prompt = counting(own_encoder, plain=(A, 0), padded=(B, 9), cut=(A, 4), parts=(BOTH, 0))
    expected = {
        "plain": "11 tokens",
        "padded": "9 tokens, 3 of them padding",
        "cut": "4 tokens\nmax_length 4 cut 5 words: fox in a green coat",
        "parts": "17 tokens in 2 parts (11 + 6)",
    }
    for is_known in (False, True):
        gc.collect()
        clip = host.run("LoadELLATextEncoder", text_encoder_name=own_encoder, prompt_cache=True)[0]
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            texts, outputs = shown_by(host, prompt)
        assert texts == expected
        assert set(outputs) == {f"{name}-seen" for name in expected}
        assert [record.message for record in caplog.records if "ELLA" in record.message] == [
            "ELLA Text Encode: max_length 4 cut 5 words: fox in a green coat"
        ]
        assert host.core("host.clip").encoder_of(clip).has_weights is not is_known
        del clip


def test_a_count_of_what_looks_like_html(host, own_encoder):
    texts, _ = shown_by(host, counting(own_encoder, html=("a <b>red</b> fox", 3)))
    assert texts["html"].endswith("cut 2 words: &lt;b&gt;red&lt;/b&gt; fox")


def test_text_is_not_written_with_it(host, t5):
    if "TextGenerate" not in host.node_classes:
        pytest.skip("this ComfyUI has no Generate Text")
    with pytest.raises(ValueError, match="only reads; wire a Load CLIP"):
        host.run("TextGenerate", clip=t5, prompt="a fox", max_length=4, sampling_mode={"sampling_mode": "off"})
