"""Text states of prompts on disk, so that a prompt that was read once is not read again in another session.

Each prompt is a safetensors file named by the hash of everything its text states depend on. Files appear whole or not
at all, and any number of processes may share a folder.
"""

import hashlib
import json
import logging
import os
import stat
import time
import uuid

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..finite import is_finite

# Counts up whenever the text encoder's arithmetic or the files change. transformers' version is no part of a key,
# because the arithmetic is pinned for all of them (language_models/t5_attention.py).
FORMAT = "3"
DIGEST = "sha256"
ENDING = ".safetensors"
PART, SAVING = ".part", ".tmp"  # how the name of an unfinished file ends here, and how it starts in safetensors
ABANDONED = 3600  # seconds after which an unfinished file has no writer any more


def prompt_key(encoder_identity, dtype, text, max_length):
    """Name of a prompt's entry; `encoder_identity` as in `EncoderFiles.identity`, `max_length` as in `TextEncoder`.

    `dtype` is the torch dtype that the language model computes in.
    """
    parts = [FORMAT, str(dtype).removeprefix("torch."), encoder_identity, max_length, text]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class PromptCache:
    """Text states by key in `folder`, which is made when the first prompt is kept; at most `limit` bytes.

    Beyond the limit the prompts that were not asked for the longest go. No method raises for what is wrong with the
    folder or its files: a damaged entry is removed, and one that can't be written is reported to the log.
    """

    def __init__(self, folder, limit=256 * 2**20):
        self.folder = folder
        self.limit = limit

    def path(self, key):
        return os.path.join(self.folder, key + ENDING)

    def find(self, key):
        """The text states (1, T, text_dim) of a key, or None."""
        path = self.path(key)
        if not os.path.isfile(path):  # nothing, or a pipe whose reading would wait for ever
            return None
        try:
            with safe_open(path, "pt") as file:
                states, digest = file.get_tensor("text_states").clone(), (file.metadata() or {}).get(DIGEST)
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError):
            digest = None
        if digest is None or digest != digest_of(key, states) or not can_be_kept(states):
            remove(path)
            return None
        try:
            os.utime(path)  # the last time it was asked for
        except OSError:
            pass
        return states

    def keep(self, key, states):
        """Writes the text states (1, T, text_dim) of a key; others, and what is not finite, are not kept."""
        states = states.cpu().contiguous()
        if not can_be_kept(states):
            return
        part = os.path.join(self.folder, f"{key}.{uuid.uuid4().hex}{PART}")
        try:
            os.makedirs(self.folder, exist_ok=True)
            save_file({"text_states": states}, part, metadata={DIGEST: digest_of(key, states)})
            os.replace(part, self.path(key))
            self.trim()
        except (SafetensorError, OSError) as error:
            remove(part)
            logging.warning(f"ELLA's prompt cache could not be written ({error}); prompts are read anew instead.")

    def trim(self):
        """Removes what a killed process left, and beyond the limit the entries that were not asked for the longest."""
        now = time.time()
        entries, total = [], 0
        with os.scandir(self.folder) as files:
            for file in files:
                is_part = file.name.endswith(PART) or file.name.startswith(SAVING)
                if not is_part and not file.name.endswith(ENDING):
                    continue
                try:
                    status = file.stat()
                except OSError:
                    continue  # another process was faster
                if not stat.S_ISREG(status.st_mode):
                    continue
                age = now - status.st_mtime
                if is_part and abs(age) > ABANDONED:
                    remove(file.path)
                    continue
                total += status.st_size
                if not is_part:
                    # A time that is still to come is of a clock that was ahead; nobody asked for the prompt since then.
                    entries.append((status.st_mtime if age > -ABANDONED else 0.0, status.st_size, file.path))
        for _, size, path in sorted(entries):
            if total <= self.limit:
                break
            remove(path)
            total -= size


def can_be_kept(states):
    """Whether a tensor is text states as a text encoder gives them: (1, T, text_dim) of floats, all finite."""
    is_states = states.is_floating_point() and states.ndim == 3 and len(states) == 1 and states.numel() > 0
    return is_states and is_finite(states)


def digest_of(key, states):
    """What binds text states to their key: a hash of both, of shape and dtype."""
    digest = hashlib.sha256(json.dumps([key, list(states.shape), str(states.dtype)]).encode())
    digest.update(states.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def remove(path):
    try:
        os.remove(path)
    except OSError:
        pass  # another process removed it or reads it just now
