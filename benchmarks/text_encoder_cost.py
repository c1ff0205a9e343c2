"""Loading and reading with a text encoder of FLAN-T5-XL's size (random weights), against transformers."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import compare
import torch


def make(folder, comfyui):
    """Folder of a text encoder of 24 layers, 2.45 GB in float16, as Hugging Face keeps one."""
    import random_models

    folder = Path(folder) / "t5xl"
    if not folder.exists():
        random_models.make_text_encoder(str(folder / "model.safetensors"), num_layers=24)
        random_models.text_encoder_config(24).save_pretrained(folder)
        for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
            shutil.copy(Path(comfyui) / "comfy/text_encoders/t5_tokenizer" / name, folder)
    return folder


def loading(folder, rounds):
    """Rows of a load in a fresh process: seconds, and the highest memory against the file's size."""
    script = str(Path(__file__).with_name("load_text_encoder.py"))

    def load(which):
        output = subprocess.run(
            [sys.executable, script, which, str(folder)], capture_output=True, text=True, check=True
        ).stdout
        return json.loads(output.splitlines()[-1])

    pairs = []
    for index in range(rounds + 1):
        order = ("ours", "transformers") if index % 2 else ("transformers", "ours")
        found = {which: load(which) for which in order}
        pairs.append((found["ours"], found["transformers"]))
    pairs = pairs[1:]  # the first reads the file from the disk
    size = (folder / "model.safetensors").stat().st_size
    seconds = [(ours["seconds"], theirs["seconds"]) for ours, theirs in pairs]
    yield compare.row("load of T5-XL", "from_pretrained(dtype=float16)", seconds, "s", "file in the page cache")
    for moment in ("loaded", "after a prompt"):
        memory = [(ours[moment] / 2**20, size / 2**20) for ours, _ in pairs]
        theirs = max(theirs[moment] for _, theirs in pairs) / 2**20
        note = f"transformers: {theirs:.0f} MiB"
        yield compare.row(f"peak memory of T5-XL, {moment}", "size of the file", memory, "MiB", note)


def second_load(folder):
    """Row of a load while a CLIP of the same files is in use, against the first one in the process."""
    from ella_core.host.clip import load_clip

    clips = []
    first = compare.seconds(lambda: clips.append(load_clip(str(folder))))
    again = compare.seconds(lambda: clips.append(load_clip(str(folder))))
    shared = clips[0].cond_stage_model is clips[1].cond_stage_model
    return compare.row("second load in the process", "the first", [(again, first)], "s", f"weights shared: {shared}")


def reading(folder, rounds, device):
    """Rows of 128 tokens: against the same arithmetic (all float16), and transformers' own mixture with float32."""
    from transformers import T5EncoderModel

    from ella_core.language_models.kinds import load_text_encoder

    ours = load_text_encoder(folder).to(device)
    # Without keep_in_fp32, which leaves `wo` in float32.
    half = T5EncoderModel.from_pretrained(folder, dtype=torch.float16).half().to(device).eval()
    mixed = T5EncoderModel.from_pretrained(folder, dtype=torch.float16).to(device).eval()
    ids = list(range(100, 228))
    inputs = {"input_ids": torch.tensor([ids], device=device), "attention_mask": torch.ones(1, 128, device=device)}

    with torch.inference_mode():
        same = torch.equal(ours.read(ids), half(**inputs).last_hidden_state)
        yield compare.interleaved(
            "128 tokens through T5-XL",
            "transformers, float16",
            lambda: ours.read(ids),
            lambda: half(**inputs),
            rounds,
            f"equal bit for bit: {same}",
        )
        yield compare.interleaved(
            "128 tokens through T5-XL",
            "transformers, dtype=float16 (wo in float32)",
            lambda: ours.read(ids),
            lambda: mixed(**inputs),
            rounds,
        )


def known_prompt(folder, cache_folder):
    """Row of a prompt from the cache on disk against reading it."""
    from ella_core.host.clip import encoder_of, open_clip
    from ella_core.host.remembering_clip import RememberingCLIP, encode_prompt
    from ella_core.prompts.prompt_cache import PromptCache

    def new():
        return RememberingCLIP(open_clip(str(folder)), PromptCache(str(cache_folder)))

    prompt = "a red fox in a green coat reads a newspaper beside a blue teapot, on a wooden table " * 6
    read = compare.seconds(lambda: encode_prompt(new(), prompt))
    clip = new()
    known = compare.seconds(lambda: encode_prompt(clip, prompt))
    note = f"weights read: {encoder_of(clip).has_weights}"
    return compare.row("a prompt from the cache", "load and read", [(known, read)], "s", note)
