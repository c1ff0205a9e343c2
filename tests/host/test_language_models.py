"""Encoders and decoders beside T5 as the host's CLIP: states, weights, report, map, and every kind of connector."""

import csv
import io
import logging
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from sampling import PROMPT, assert_exact, ksample, record_context, relative
from tiny_language_models import make_language_model

FAMILIES = ("bert", "llama", "qwen2")  # WordPiece, sentencepiece with a start token, byte BPE without added tokens
KINDS = {
    "mlp": {},
    "resampler": {"depth": 1},
    "resampler-6": {"depth": 6},
    "adaln-zero": {"depth": 2},
    "tsc": {"depth": 2},
}
WEIGHTED = "a (red:1.5) fox beside a (blue teapot:0.6), two triangles"


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture(scope="module")
def folder(host, model_files, family):
    return make_language_model(model_files / f"ella_encoder/tiny-{family}", family)


@pytest.fixture(scope="module")
def clip(host, folder):
    return host.run("LoadELLATextEncoder", text_encoder_name=folder.name)[0]


@pytest.fixture(scope="module")
def encoder(plain_core, folder):
    """The same files read by the core without a host, in float32 as the host takes on a processor."""
    return plain_core.load_text_encoder(folder)


def states(host, clip, text, max_length=0):
    return host.run("ELLAT5TextEncode", clip=clip, text=text, max_length=max_length)[0][0][0]


@pytest.mark.parametrize("max_length", [0, 4, 40])
def test_states_are_the_language_models_own(host, clip, encoder, max_length):
    for text in (PROMPT, ""):
        assert torch.equal(states(host, clip, text, max_length), encoder.encode(text, max_length))


def test_weights_change_no_token_and_blend_with_an_empty_prompt(host, clip, encoder):
    """The host's rule: a weighted token moves from the states of an empty prompt, padded to the same length."""
    plain = WEIGHTED.replace("(red:1.5)", "red").replace("(blue teapot:0.6)", "blue teapot")
    ids = encoder.token_ids(plain)
    assert [token_id for token_id, _ in clip.tokenize(WEIGHTED)["t5xl"][0]] == ids
    found, full = states(host, clip, WEIGHTED), encoder.encode(plain)
    added = [*encoder.added.start, *encoder.added.end]
    with torch.inference_mode():
        empty = encoder.read(added + [encoder.added.padding] * (len(ids) - len(added)))
    texts = [piece.text for piece in clip.tokenizer.pieces([(one, 1.0) for one in ids], plain)]
    weights = torch.ones(len(ids), 1)
    letters = 0
    for place, text in enumerate(texts):
        if len(encoder.added.start) <= place < len(ids) - len(encoder.added.end):
            start = plain.index(text.strip("\u2581"), letters)
            letters = start + len(text.strip("\u2581"))
            blue = plain.index("blue") <= start < plain.index(",")
            red = plain.index("red") <= start < plain.index(" fox")
            weights[place] = 1.5 if red else 0.6 if blue else 1.0
    assert len(weights.unique()) == 3
    assert torch.allclose(found, (full - empty) * weights + empty, atol=1e-5)


def test_the_report_names_words_and_what_is_cut(host, clip, encoder):
    report = host.run("ELLATokenReport", clip=clip, text=WEIGHTED, max_length=6)[0]
    start, end = len(encoder.added.start), len(encoder.added.end)
    assert report.startswith("6 tokens: " + f"{6 - start - end} pieces of the prompt, ")
    assert ("start token |" in report, "end token |" in report) == (start > 0, end > 0)
    assert "Cut by max_length 6" in report and "triangles" in report.split("Words not read")[1].splitlines()[0]
    whole = host.run("ELLATokenReport", clip=clip, text=WEIGHTED, max_length=0)[0]
    assert "red | 1.5 |" in whole and "teapot, | 0.6 |" in whole and "Nothing was cut." in whole


def test_the_attention_map_has_a_column_for_each_word(host, ella, clip):
    picture, text = host.run(
        "ELLAAttentionMap", clip=clip, ella=ella, text=WEIGHTED, max_length=30, steps=2, blocks="all", heads="all"
    )
    header, *rows = csv.reader(io.StringIO(text))
    assert header[1:-3] == "a red fox beside a blue teapot, two triangles".split()
    for row in rows:
        assert abs(sum(map(float, row[1:])) - 1) < 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_connector_samples_with_it(host, plain_core, random_models, model, clip, family, kind):
    """T5 with each kind is sampled in test_kinds.py."""
    if family == "qwen2":
        pytest.skip("a decoder as llama is one; its tokenizer is what differs")
    path = host.models / "ella" / f"{family}-{kind}.safetensors"
    connector = plain_core.new_connector(kind.removesuffix("-6"), text_dim=32, device="meta", **KINDS[kind])
    weights = random_models.random_weights(connector, seed=3, dtype=torch.float32)
    connector.load_state_dict(weights, assign=True)
    plain_core.save_connector(connector, path)
    ella = host.run("LoadELLA", ella_name=path.name)[0]
    oracle = plain_core.load_connector(path).double()
    conditionings = [host.run("ELLAT5TextEncode", clip=clip, text=text, max_length=0)[0] for text in (PROMPT, "")]
    applied = host.run(
        "ELLAApplyConditioning", model=model, ella=ella, positive=conditionings[0], negative=conditionings[1]
    )
    recorded, seen = record_context(applied[0])
    ksample(host, recorded, *applied[1:], steps=2)
    assert_exact(seen, oracle, *(conditioning[0][0] for conditioning in conditionings))
    path.unlink()


def test_other_precision_and_device(host, t5, caplog):
    """T5 in another precision than its connectors were trained with is said in the log; others choose freely."""
    inputs = {"text_encoder_name": "tiny-t5", "device": "cpu"}
    with caplog.at_level(logging.WARNING):
        full = host.run("LoadELLATextEncoder", **inputs, precision="float32")[0]
    assert "set precision to auto" in caplog.text
    found = states(host, full, PROMPT)
    assert found.dtype == torch.float32 and full.patcher.load_device == torch.device("cpu")
    half = states(host, t5, PROMPT)
    assert half.dtype == torch.float16 and relative(found, half) > 0.01


STATED = {
    "the same": ({"architecture": "llama", "dtype": "float32"}, ""),
    "another dtype": (
        {"architecture": "llama", "dtype": "float16"},
        "set precision of Load ELLA Text Encoder to float16",
    ),
    "nothing": (None, "does not say which language model it was trained with"),
}


@pytest.fixture(scope="module")
def llama_states(host, model_files):
    folder = model_files / "ella_encoder/tiny-llama"
    folder = folder if folder.is_dir() else make_language_model(folder, "llama")
    llama = host.run("LoadELLATextEncoder", text_encoder_name=folder.name)[0]
    return host.run("ELLAT5TextEncode", clip=llama, text=PROMPT, max_length=0)[0]


def trained_with(host, plain_core, stated):
    """A loaded connector whose file states a language model, or none."""
    path = host.models / "ella/stating.safetensors"
    connector = plain_core.new_connector("tsc", depth=1, text_dim=32)
    plain_core.save_connector(connector, path, **({"text_encoder": stated | {"hidden_size": 32}} if stated else {}))
    return host.run("LoadELLA", ella_name=path.name)[0]


@pytest.mark.parametrize("case", STATED)
def test_what_a_connector_was_trained_with_is_compared(host, plain_core, model, llama_states, caplog, case):
    stated, expected = STATED[case]
    ella = trained_with(host, plain_core, stated)
    with caplog.at_level(logging.WARNING):
        host.run("ELLAApplyConditioning", model=model, ella=ella, positive=llama_states)
    said = [record.message for record in caplog.records if "Apply ELLA" in record.message]
    assert (expected in said[0]) if expected else not said


def test_a_connector_for_another_language_model(host, plain_core, model, llama_states, text_states):
    """Before anything is sampled, with both names."""
    ella = trained_with(host, plain_core, {"architecture": "gemma2", "name": "google/gemma-2-2b"})
    for conditioning, found in ((llama_states, "llama"), (text_states[0], "t5")):
        sentence = f"read by a {found} model, and stating.safetensors was trained with .*google/gemma-2-2b"
        with pytest.raises(ValueError, match=sentence):
            host.run("ELLAApplyConditioning", model=model, ella=ella, positive=conditioning)


def test_quantised_weights_are_told_once_a_load(host, model_files, caplog):
    """A T5 in float8: read, with the measured cosine; a second loader of the same file says nothing more."""
    folder = model_files / "ella_encoder/float8-t5"
    shutil.copytree(model_files / "ella_encoder/tiny-t5", folder)
    weights = load_file(folder / "model.safetensors")
    small = {key: one.to(torch.float8_e4m3fn) if key.endswith("wi_0.weight") else one for key, one in weights.items()}
    save_file(small, folder / "model.safetensors")
    with caplog.at_level(logging.WARNING):
        clips = [host.run("LoadELLATextEncoder", text_encoder_name=folder.name)[0] for _ in range(2)]
    said = [record.message for record in caplog.records if "quantised" in record.message]
    assert len(said) == 1 and "F8_E4M3 (cosine 0.969" in said[0]
    assert states(host, clips[0], PROMPT).isfinite().all()
    shutil.rmtree(folder)
