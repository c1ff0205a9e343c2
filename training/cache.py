"""python -m training cache: latents and text states of all pictures, once, so that training loads neither VAE nor
language model.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ella_core.errors import quoted

from .errors import TrainingError


@dataclass(frozen=True)
class Options:
    """Encode pictures and captions once. A cache that was stopped goes on with the same command.

    On several GPUs or machines that share the folder: accelerate launch -m training cache ... with the same arguments.
    """

    checkpoint: Path
    """the .safetensors checkpoint whose VAE encodes the pictures"""
    text_encoder: Path
    """the language model: a Hugging Face folder, or one .safetensors or .gguf file"""
    data: str
    """a folder of pictures with .txt files, a .jsonl file, or WebDataset tars, also as "shards/{0000..0099}.tar\""""
    out: Path
    """the folder of the cache; it is made if it is not there"""
    tokenizer: Path | None = None
    """where the tokenizer of a T5 lies that comes without one"""
    max_length: int = 128
    """token ids that prompts are cut and padded to; 0 neither cuts nor pads"""
    dtype: Literal["float32", "float16", "bfloat16"] | None = None
    """how the language model computes; T5 in float16 and others in float32 by default"""
    resolution: int = 512
    """pictures have at most its square of pixels"""
    bucket_step: int = 64
    """widths and heights are multiples of it"""
    widest: float = 2.0
    """the widest aspect of a bucket; 1 cuts all pictures to squares"""
    shard: int = 128
    """pictures in each file; at 512 pixels with 128 token ids of FLAN-T5-XL these are 76 MB"""
    device: str | None = None
    """cpu, cuda, ...; the best one by default"""


def run(options):
    """The command; see Options."""
    import torch
    from accelerate import PartialState
    from filelock import FileLock, Timeout

    from .pictures import open_pictures, skipped_sentence

    if options.shard < 1 or options.max_length < 0:
        raise TrainingError(
            f"--shard is {options.shard} and --max-length {options.max_length}; the first must be at least 1 and the "
            "second at least 0."
        )
    state = PartialState(cpu=options.device == "cpu")
    pictures, skipped = open_pictures(options.data)
    shards = plan_shards(options, pictures)
    if skipped and state.is_main_process:
        print(f"training: skipped {skipped_sentence(skipped)}.", file=sys.stderr)
    encoding = open_encoding(options, torch.device(options.device) if options.device else state.device)
    settings = settings_of(options, encoding, pictures, shards)
    folder = create_folder(options.out, settings, state)
    lock = FileLock(folder.path / f".{state.process_index}.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise TrainingError(
            f"Another process is writing the cache {quoted(str(options.out))}; wait for it or end it."
        ) from None
    with lock:
        if state.is_main_process:
            folder.keep_empty_states(encoding.text_states(""))
        write_shards(folder, encoding, pictures, shards, state)
        state.wait_for_everyone()
        if state.is_main_process:
            finish(folder, options.out)
    state.wait_for_everyone()


def open_encoding(options, device):
    """The Encoding that the options ask for; they may be training's as well."""
    import torch

    from .encoding import Encoding

    dtype = getattr(torch, options.dtype) if options.dtype else None
    return Encoding(options.checkpoint, options.text_encoder, options.max_length, options.tokenizer, dtype, device)


def plan_shards(options, pictures):
    """[(number of a bucket, numbers of its pictures)], each the pictures of one shard."""
    from .buckets import make_buckets, nearest_bucket

    buckets = make_buckets(options.resolution, options.bucket_step, options.widest)
    members = [[] for _ in buckets]
    for number, picture in enumerate(pictures):
        members[nearest_bucket(picture.size, buckets)].append(number)
    return [
        (buckets[bucket], found[first : first + options.shard])
        for bucket, found in enumerate(members)
        for first in range(0, len(found), options.shard)
    ]


def settings_of(options, encoding, pictures, shards):
    """What a cache is made from and with, as cache.json keeps it."""
    digest = hashlib.sha256()
    for one in pictures:
        digest.update(json.dumps([one.name, one.size, one.captions]).encode())
    return {
        "text_encoder": encoding.facts,
        "vae": encoding.vae.facts,
        "resolution": options.resolution,
        "bucket_step": options.bucket_step,
        "widest": options.widest,
        "pictures": len(pictures),
        "pictures_sha256": digest.hexdigest(),
        "shard": options.shard,
        "shards": len(shards),
    }


def create_folder(path, settings, state):
    """The CacheFolder, which the main process makes before the others open it."""
    from .cache_folder import CacheFolder

    if state.is_main_process:
        CacheFolder.create(path, settings)
    state.wait_for_everyone()
    return CacheFolder.create(path, settings)


def write_shards(folder, encoding, pictures, shards, state):
    """Writes this process' part of the shards that are missing."""
    from tqdm import tqdm

    share = range(state.process_index, len(shards), state.num_processes)
    missing = [number for number in folder.missing() if number in share]
    total = sum(len(shards[number][1]) for number in missing)
    with tqdm(total=total, unit=" pictures", file=sys.stderr, disable=not state.is_main_process) as bar:
        for number in missing:
            bucket, members = shards[number]
            facts, items = {"bucket": bucket, "captions": [], "skipped": []}, []
            for member in members:
                encode_picture(pictures[member], bucket, encoding, facts, items)
                bar.update()
            folder.keep_shard(number, facts, items)


def encode_picture(picture, bucket, encoding, facts, items):
    """Adds a picture's items to those of its shard, one for each caption, or its name to those that are skipped."""
    from .buckets import fit
    from .cache_folder import make_item

    try:
        image = picture.read()
    except TrainingError:
        facts["skipped"].append(picture.name)
        return
    fitted = fit(image, bucket)
    latents = encoding.latents(fitted.pixels)[0]
    for caption in picture.captions:
        items.append(make_item(latents, encoding.text_states(caption)[0], fitted.sizes))
    facts["captions"].append(len(picture.captions))


def finish(folder, out):
    """Completes the cache and says what is in it."""
    from .pictures import Skipped, skipped_sentence

    facts = folder.complete()
    skipped = [Skipped(name, "is corrupt") for one in facts for name in one["skipped"]]
    if skipped:
        print(f"training: skipped {skipped_sentence(skipped)}.", file=sys.stderr)
    count, captions = sum(len(one["captions"]) for one in facts), sum(sum(one["captions"]) for one in facts)
    print(f"training: {quoted(str(out))} holds {count:,} pictures with {captions:,} captions.", file=sys.stderr)
