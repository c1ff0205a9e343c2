"""ELLA Attention Map and ELLA Token Report: real prompts through the host's CLIP, its T5 tokenizer and its executor."""

import csv
import io
import json
import re
import shutil

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from sampling import PROMPT

TEXT = "A red fox in a green coat reads a newspaper beside a (blue teapot:1.3), it costs $5. A red fox."
WORDS = "A red fox in a green coat reads a newspaper beside a blue teapot , it costs $5. A red fox.".split()
# The host computes the connector in float32, the oracle in float64; the numbers are written with six digits.
TOLERANCE = 1e-4


def shown(host, ella, t5, **changes):
    """(picture, header of the CSV, its rows as numbers) of a map."""
    inputs = {"text": TEXT, "max_length": 0, "steps": 5, "blocks": "all", "heads": "all"} | changes
    picture, text = host.run("ELLAAttentionMap", clip=t5, ella=ella, **inputs)
    header, *rows = csv.reader(io.StringIO(text))
    return picture, header, torch.tensor([[float(value) for value in row] for row in rows], dtype=torch.float64)


def torch_attention(oracle, states, timestep):
    """Weights (blocks, heads, Q, Q + T) that torch's own attention gives for what enters the oracle's blocks."""
    entered = []
    hooks = [
        block.attn.register_forward_pre_hook(lambda attention, inputs: entered.append((attention, *inputs)))
        for block in oracle.connector.perceiver_blocks
    ]
    with torch.no_grad():
        oracle(states, torch.tensor([timestep]))
    for hook in hooks:
        hook.remove()
    found = []
    for attention, queries, keys in entered:
        theirs = torch.nn.MultiheadAttention(768, attention.num_heads, batch_first=True, dtype=torch.float64)
        theirs.load_state_dict(attention.state_dict())
        with torch.no_grad():
            found.append(theirs(queries, keys, keys, average_attn_weights=False)[1])
    return torch.cat(found)


@pytest.mark.parametrize("max_length", [0, 64])
@pytest.mark.parametrize("blocks, heads", [("all", "all"), ("2", "1, 7-8")])
def test_the_map_is_torch_s_attention_to_each_word(host, ella, t5, oracle, max_length, blocks, heads):
    picture, header, rows = shown(host, ella, t5, max_length=max_length, blocks=blocks, heads=heads)
    assert header == ["timestep", *WORDS, "[added tokens]", "[padding]", "[queries]"]
    assert rows[:, 0].tolist() == [999, 749, 500, 250, 0]
    assert picture.shape[0] == 1 and picture.shape[2:] == (1024, 3)

    states = host.run("ELLAT5TextEncode", clip=t5, text=TEXT, max_length=max_length)[0][0][0]
    # Words as the tokenizer itself marks them, each weighted part of the prompt tokenized on its own.
    tokenizer = t5.tokenizer.t5xl.tokenizer
    parts = ["A red fox in a green coat reads a newspaper beside a ", "blue teapot", ", it costs $5. A red fox."]
    pieces = [piece for part in parts for piece in tokenizer.convert_ids_to_tokens(tokenizer(part)["input_ids"])[:-1]]
    places = torch.tensor([piece.startswith("\u2581") for piece in pieces]).cumsum(0) - 1
    assert places[-1] + 1 == len(WORDS)
    for row in rows:
        weights = torch_attention(oracle, states.double(), int(row[0]))
        chosen = weights if blocks == "all" else weights[1:][:, [0, 6, 7]]
        keys = chosen.mean(dim=(0, 1, 2))
        text = keys[64:]
        expected = torch.zeros(len(WORDS), dtype=torch.float64).index_add(0, places, text[: len(pieces)])
        end, padding = text[len(pieces)], text[len(pieces) + 1 :].sum()
        expected = torch.cat([expected, torch.stack([end, padding, keys[:64].sum()])])
        assert (row[1:] - expected).abs().max() < TOLERANCE * expected.max()
    assert (rows[:, 1:].sum(dim=1) - 1).abs().max() < TOLERANCE
    assert (rows[:, -2] == 0).all() == (max_length == 0)


def test_a_weight_changes_the_map(host, ella, t5):
    plain = shown(host, ella, t5, text="a (blue teapot:1.0)")
    weighted = shown(host, ella, t5, text="a (blue teapot:1.5)")
    assert plain[1] == weighted[1] and not torch.equal(plain[2], weighted[2])


@pytest.fixture
def spiece_clip(host, model_files):
    """The text encoder with a small spiece.model as its only tokenizer."""
    import sentencepiece

    folder = model_files / "ella_encoder/spiece-t5"
    folder.mkdir()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a red fox reads a newspaper", "beside a blue teapot", "foxes and pots"] * 20),
        model_prefix=str(folder / "spiece"),
        vocab_size=40,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    rows = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spiece.model")).get_piece_size()
    weights = load_file(model_files / "ella_encoder/tiny-t5/model.safetensors")
    weights["shared.weight"] = weights["shared.weight"][:rows].contiguous()
    save_file(weights, folder / "model.safetensors")
    config = json.loads((model_files / "ella_encoder/tiny-t5/config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": rows}))
    yield host.run("LoadELLATextEncoder", text_encoder_name="spiece-t5")[0]
    shutil.rmtree(folder)


def test_a_file_with_spiece_model_gives_the_same_kind_of_map(host, ella, spiece_clip):
    text = "a red fox beside a (blue teapot:1.2)"
    _, header, rows = shown(host, ella, spiece_clip, text=text)
    assert header[1:-3] == ["a", "red", "fox", "beside", "a", "blue", "teapot"]
    assert (rows[:, 1:].sum(dim=1) - 1).abs().max() < TOLERANCE
    (report,) = host.run("ELLATokenReport", clip=spiece_clip, text=text, max_length=0)
    assert "\nteapot | 1.2 | " in report
    assert report.startswith(f"{len(spiece_clip.tokenize(text)['t5xl'][0])} tokens: ")


def test_a_clip_that_remembers_prompts_gives_the_same_map(host, ella, t5, model_files):
    (clip,) = host.run("LoadELLATextEncoder", text_encoder_name="tiny-t5", prompt_cache=True)
    for _ in range(2):
        picture, text = host.run("ELLAAttentionMap", clip=clip, ella=ella, **MAP)
        expected = host.run("ELLAAttentionMap", clip=t5, ella=ella, **MAP)
        assert torch.equal(picture, expected[0]) and text == expected[1]


PROMPTS = {
    "2,400 words": "a red fox " * 800,
    "emoji": "a fox \N{FOX FACE} and a \N{TEACUP WITHOUT HANDLE}",
    "Chinese": "\u4e00\u53ea\u7ea2\u8272\u7684\u72d0\u72f8\u5728\u8bfb\u62a5\u7eb8",
    "mathematics": "$x_1^{2$ costs \\frac{5}{$",
    "only punctuation": "... !!! ,,, ---",
    "tokens": "<pad> a </s> fox <extra_id_0>",
    "open parenthesis": "a fox (with a hat, ((and a cane",
}


@pytest.mark.parametrize("case", PROMPTS)
def test_any_prompt(host, ella, t5, case):
    picture, _, rows = shown(host, ella, t5, text=PROMPTS[case], steps=2)
    assert picture.isfinite().all() and picture.shape[1] < 9000
    assert (rows[:, 1:].sum(dim=1) - 1).abs().max() < TOLERANCE
    for max_length in (0, 1, 2, 6, 128):
        (report,) = host.run("ELLATokenReport", clip=t5, text=PROMPTS[case], max_length=max_length)
        tokens = t5.tokenize(PROMPTS[case], max_length=max_length)["t5xl"][0]
        assert report.startswith(f"{len(tokens)} tokens: ")


def fails(host, message, node_id, **inputs):
    with pytest.raises(ValueError, match=message) as error:
        host.run(node_id, **inputs)
    text = str(error.value)
    assert "\n" not in text and text.endswith(".")


MAP = {"text": TEXT, "max_length": 0, "steps": 2, "blocks": "all", "heads": "all"}


def test_what_can_not_be_mapped(host, ella, t5, checkpoint):
    node = "ELLAAttentionMap"
    fails(
        host, "blocks names 3, and this connector has blocks 1 to 2", node, clip=t5, ella=ella, **MAP | {"blocks": "3"}
    )
    fails(host, "heads names 0, and this connector has heads 1 to 8", node, clip=t5, ella=ella, **MAP | {"heads": "0"})
    fails(host, "blocks is 'first', where all or numbers", node, clip=t5, ella=ella, **MAP | {"blocks": "first"})
    fails(host, "has no words", node, clip=t5, ella=ella, **MAP | {"text": "  "})
    fails(host, "has no words", node, clip=t5, ella=ella, **MAP | {"max_length": 1})
    fails(host, "embeddings belong to CLIP", node, clip=t5, ella=ella, **MAP | {"text": "embedding:bad"})
    fails(host, "ELLA Attention Map got a CLIP .* where ELLA's text", node, clip=checkpoint[1], ella=ella, **MAP)
    fails(host, "ELLA Token Report got a CLIP", "ELLATokenReport", clip=checkpoint[1], text=TEXT, max_length=0)


def test_another_language_model(host, t5, model_files, random_models):
    path = model_files / "ella/wide.safetensors"
    random_models.make_connector(str(path), host.core("connectors.tsc"), depth=1, text_dim=48)
    (wide,) = host.run("LoadELLA", ella_name="wide.safetensors")
    fails(
        host, "text states of width 32, and wide.safetensors reads text states of width 48", "ELLAAttentionMap",
        clip=t5, ella=wide, **MAP,
    )  # fmt: skip
    path.unlink()


@pytest.mark.parametrize("max_length", [0, 128, 24, 9, 1])
def test_the_report_is_the_tokenizer_s(host, t5, max_length):
    (report,) = host.run("ELLATokenReport", clip=t5, text=TEXT, max_length=max_length)
    tokens = t5.tokenize(TEXT, max_length=max_length)["t5xl"][0]
    ids = [token for token, _ in tokens]
    assert report.startswith(f"{len(ids)} tokens: {ids.index(1)} piece")
    assert f"1 end token, {ids.count(0)} padding." in report
    lines = re.findall(r"^(\S+) \| ([\d.]+) \| (.*)$", report, re.MULTILINE)
    listed = [
        (int(number), float(weight)) for _, weight, pieces in lines for number in re.findall(r"\((\d+)\)", pieces)
    ]
    assert listed == tokens[: ids.index(1)]
    whole = len(t5.tokenize(TEXT)["t5xl"][0])
    assert ("Nothing was cut." in report) == (max_length in (0, 128))
    cut = re.search(r"the last (\d+) pieces of (\d+)", report)
    assert cut is None or [int(number) for number in cut.groups()] == [whole - max_length, whole - 1]
    lost = re.search(r"^Words not read \((\d+)\): (.*)$", report, re.MULTILINE)
    if max_length in (24, 9, 1):
        lost = lost[2].split()
        assert WORDS[len(WORDS) - len(lost) :] == lost and len(lines) + len(lost) == len(WORDS)


def test_both_nodes_in_the_real_executor(host, model_files):
    """A user's graph: the map into Preview Image, its CSV and the report where the host shows text."""
    prompt = {
        "1": {"class_type": "LoadELLATextEncoder", "inputs": {"text_encoder_name": "tiny-t5"}},
        "2": {"class_type": "LoadELLA", "inputs": {"ella_name": "tiny.safetensors"}},
        "3": {
            "class_type": "ELLAAttentionMap",
            "inputs": {"clip": ["1", 0], "ella": ["2", 0], **MAP, "text": PROMPT, "steps": 20},
        },
        "4": {"class_type": "PreviewImage", "inputs": {"images": ["3", 0]}},
        "5": {"class_type": "PreviewAny", "inputs": {"source": ["3", 1]}},
        "6": {"class_type": "ELLATokenReport", "inputs": {"clip": ["1", 0], "text": PROMPT, "max_length": 16}},
    }
    outputs = host.execute(prompt)
    (saved,) = outputs["4"]["images"]
    picture = Image.open(host.models.parent / "temp" / saved["subfolder"] / saved["filename"])
    assert picture.width == 1024 and picture.height > 300
    assert outputs["5"]["text"][0].startswith("timestep,")
    (report,) = outputs["6"]["text"]
    assert "Cut by max_length 16" in report and "16 tokens: 15 pieces" in report
