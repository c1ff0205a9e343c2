"""Opens damaged connectors or text encoders, one after the other, until the time is over; test_fuzz_files.py runs it.

    python tests/unit/fuzz_files.py connector|encoder|language_model|gguf SECONDS FOLDER [FIRST]

Case n, counted from FIRST, is the same in every run. Each must be loaded and equal what its files hold, or be refused
in one sentence, in bounded time and memory. The first that is not stays in FOLDER, and ends the run.
"""

import faulthandler
import json
import os
import re
import shutil
import sys
import time
from pathlib import Path
from random import Random

import torch

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO))

from connector_formulas import FORMULAS  # noqa: E402
from file_mutations import OWNER, split_safetensors  # noqa: E402
from fuzz_cases import connector_file, encoder_folder, language_model_folder  # noqa: E402
from gguf_bytes import split_gguf  # noqa: E402
from gguf_mutations import gguf_file  # noqa: E402
from wrong_files import assert_one_sentence  # noqa: E402

from ella_core import ELLAError, load_connector, load_text_encoder  # noqa: E402
from ella_core.connectors.connector_file import check_connector  # noqa: E402
from ella_core.language_models.encoder_files import find_encoder_files  # noqa: E402
from ella_core.language_models.kinds import inspect_text_encoder  # noqa: E402
from ella_core.safetensors_file import read_header  # noqa: E402

HANG = 120  # seconds after which a case never ends; each takes milliseconds
MOST_CPU = 20  # seconds that a case may compute, on any machine
MEMORY = 128 * 2**20  # what may be taken beside twice the files: headers and configs become Python's objects
TORCH_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}
EMBEDDINGS = ("shared.weight", "encoder.embed_tokens.weight")  # one tensor; where both are there, the first counts
LARGEST = 2.0  # of weights that are as they were drawn; sums of larger ones may overflow in float16
TIMES = (0, 500, 999)
# Both in float64 but for the sinusoid, whose angles up to 999 are float32; random weights may lead its error on.
TOLERANCE, TAME = 1e-3, 8.0
TEXTS = ("a red fox", "", "a \u2603 reads {this} \U0001f98a\n\x00", "fox " * 200)


def tensors_of(path):
    """Tensors and metadata of a safetensors file, read without safetensors."""
    header, data = split_safetensors(Path(path).read_bytes())
    metadata = header.pop("__metadata__", None) or {}
    tensors = {}
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        if entry["dtype"] in TORCH_DTYPES and end > start:
            flat = torch.frombuffer(bytearray(data[start:end]), dtype=TORCH_DTYPES[entry["dtype"]])
            tensors[name] = flat.reshape(entry["shape"])
    return tensors, metadata


def open_connector(path):
    """Loads a connector and compares it with its file and, where its weights are tame, with its kind's formulas."""
    kind = check_connector(read_header(path)).kind
    connector = load_connector(path)
    tensors, metadata = tensors_of(path)
    state = connector.state_dict()
    assert state.keys() == tensors.keys()
    assert all(torch.equal(state[name], tensors[name]) for name in state)
    if hasattr(connector.config, "num_heads"):
        assert str(connector.config.num_heads) == metadata.get("num_heads", metadata.get("heads", "8"))
    if max(float(tensor.abs().max()) for tensor in tensors.values()) <= TAME:
        text = torch.randn(5, connector.config.text_dim, generator=torch.Generator().manual_seed(0)).double()
        weights = {name: tensor.double().numpy() for name, tensor in tensors.items()}
        found = connector.double()(text[None], torch.tensor(TIMES))
        for tokens, step in zip(found, TIMES):
            expected = torch.from_numpy(FORMULAS[kind](weights, connector.config, text.numpy(), float(step)))
            assert torch.allclose(tokens, expected, rtol=0, atol=TOLERANCE * float(expected.abs().max()))


def open_encoder(path):
    """Loads a text encoder, compares it with its files and lets it read."""
    find_encoder_files(path).identity()
    language_model = inspect_text_encoder(path)
    files, sizes = language_model.files, language_model.sizes
    if files.tokenizer is None:
        return
    encoder = load_text_encoder(path)
    tensors = {}
    for weights in files.weights:
        tensors |= tensors_of(weights)[0]
    embedding = next(tensors[name] for name in EMBEDDINGS if name in tensors)
    tensors |= dict.fromkeys(EMBEDDINGS, embedding)
    for name, weight in encoder.model.state_dict().items():
        assert torch.equal(weight, tensors[name].half()), name
    if files.config is not None:
        config = json.loads(Path(files.config).read_bytes())
        for key in ("layer_norm_epsilon", "relative_attention_max_distance", *sizes):
            assert getattr(encoder.model.config, key) == config.get(key, getattr(encoder.model.config, key)), key
    for text in TEXTS:
        ids = encoder.token_ids(text)
        assert ids[-1] == 1 and ids == expected_ids(files.tokenizer, text)
        states = encoder.encode(text)
        assert states.shape == (1, len(ids), sizes["d_model"]) and states.dtype == torch.float16


def open_language_model(path):
    """Loads a language model of any family, compares it with its files and lets it read."""
    language_model = inspect_text_encoder(path)
    encoder = load_text_encoder(path)
    state = encoder.model.state_dict()
    for weights in language_model.files.weights:
        for name, tensor in tensors_of(weights)[0].items():
            own = next((key for key in state if ("." + name).endswith("." + key)), None)
            assert own is None or torch.equal(state[own], tensor.to(encoder.dtype)), name
    for text in TEXTS:
        ids = encoder.token_ids(text)
        assert encoder.encode(text).shape == (1, len(ids), language_model.text_dim)


# Parts of the modules' names in transformers and in GGUF files.
GGUF_PARTS = {
    "encoder.block": "enc.blk",
    "layers": "blk",
    "layer.0.SelfAttention.relative_attention_bias": "attn_rel_b",
    "layer.0.SelfAttention": "attn",
    "layer.0.layer_norm": "attn_norm",
    "layer.1.layer_norm": "ffn_norm",
    "layer.1.DenseReluDense.wi_0": "ffn_gate",
    "layer.1.DenseReluDense.wi_1": "ffn_up",
    "layer.1.DenseReluDense.wi": "ffn_up",
    "layer.1.DenseReluDense.wo": "ffn_down",
    "encoder.final_layer_norm": "enc.output_norm",
    "shared": "token_embd",
    "embed_tokens": "token_embd",
    "norm": "output_norm",
    "self_attn.o_proj": "attn_output",
    "self_attn": "attn",
    "mlp": "ffn",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def gguf_name(key):
    """The name of a state dict's tensor in a GGUF file."""
    for part, other in GGUF_PARTS.items():
        key = re.sub(rf"(^|\.){re.escape(part)}\.", rf"\1{other}.", key, count=1)
    return re.sub(r"\.(attn|ffn)\.(\w+?)(_proj)?\.", r".\1_\2.", key)


def open_gguf(path):
    """Loads a GGUF file, compares it with what it holds and lets it read."""
    tokenizer = Path(path).with_name("tokenizer.json")
    tokenizer = str(tokenizer) if tokenizer.exists() else None
    encoder = load_text_encoder(path, tokenizer=tokenizer)
    found = split_gguf(Path(path).read_bytes())
    stated = found.value("general.architecture")
    heads = found.value(f"{stated}.attention.head_count")
    key_heads = found.value(f"{stated}.attention.head_count_kv", heads)
    names, largest = set(), 0.0
    for key, weight in encoder.model.state_dict().items():
        name = gguf_name(key.replace(*reversed(EMBEDDINGS)))
        names.add(name)
        expected = found.tensor(name)
        if expected is None:
            largest = float("inf")
            continue
        largest = max(largest, float(abs(expected).max()))
        expected = torch.from_numpy(expected.copy()).to(encoder.dtype)
        if ".attn_q." in name or ".attn_k." in name:
            count = heads if ".attn_q." in name else key_heads
            half = len(expected) // count // 2
            rows = [2 * half * head + 2 * i + side for head in range(count) for side in (0, 1) for i in range(half)]
            expected = expected[rows] if encoder.architecture == "llama" else expected
        assert torch.equal(weight, expected), name
    others = [name for name in found.tensors if name.startswith(("blk.", "enc.")) and name not in names]
    assert not others, others[:3]
    config = encoder.model.config
    epsilon = config.rms_norm_eps if stated == "llama" else config.layer_norm_epsilon
    assert config.num_attention_heads == heads
    assert epsilon == found.value(f"{stated}.attention.layer_norm_rms_epsilon", 1e-6)
    for text in TEXTS:
        ids = encoder.token_ids(text)
        assert tokenizer is None or ids == expected_ids(tokenizer, text) or stated == "llama"
        states = encoder.encode(text)
        assert states.shape == (1, len(ids), found.value(f"{stated}.embedding_length"))
        assert states.isfinite().all() or largest > LARGEST


def expected_ids(path, text):
    """Token ids by the tokenizer's own library."""
    if path.endswith("spiece.model"):
        import sentencepiece

        return [*sentencepiece.SentencePieceProcessor(model_file=path).encode(text), 1]
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(path)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer.encode(text).ids


KINDS = {
    "connector": (connector_file, open_connector),
    "encoder": (encoder_folder, open_encoder),
    "language_model": (language_model_folder, open_language_model),
    "gguf": (gguf_file, open_gguf),
}


def reset_peak():
    """Resident memory now, which Linux takes as the new peak; None where that can't be."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    return peak()


def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def size_of(folder):
    return sum(os.lstat(os.path.join(place, name)).st_size for place, _, names in os.walk(folder) for name in names)


def run_case(kind, number, folder):
    """Makes and opens case `number`; True where it was loaded. Raises for what no loader may do."""
    make, open_file = KINDS[kind]
    random = Random(f"{kind} {number}")
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    path = make(random, folder)
    before, start = reset_peak(), time.process_time()
    loaded = True
    try:
        open_file(path)
    except ELLAError as error:
        loaded = False
        message = str(error)
        assert_one_sentence(message)
        assert message.isprintable() and OWNER not in message and str(folder) not in message, message
    assert time.process_time() - start < MOST_CPU, f"{time.process_time() - start} s"
    if before is not None:
        taken = peak() - before
        assert taken < 2 * size_of(folder) + MEMORY, f"{taken / 2**20:.0f} MiB of memory"
    return loaded


def main(kind, seconds, folder, first=0):
    torch.set_num_threads(1)
    faulthandler.enable()
    run_case(kind, -1, folder)  # what is imported and computed once takes memory of its own
    end, number, loaded = time.monotonic() + float(seconds), int(first), 0
    while time.monotonic() < end:
        print(f"case {number}", flush=True)
        faulthandler.dump_traceback_later(HANG, exit=True)
        loaded += run_case(kind, number, folder)
        faulthandler.cancel_dump_traceback_later()
        number += 1
    print(f"{number - int(first)} cases, {loaded} loaded")


if __name__ == "__main__":
    main(*sys.argv[1:])
