"""Text states of prompts on disk, so that a prompt that was read once is not read again in another session.

Each prompt is a safetensors file named by the hash of everything its text states depend on. Files appear whole or not
at all, and any number of processes may share a folder.
"""

import hashlib
import json
import logging
import os
import time
import uuid

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

FORMAT = "2"  # counts up whenever the text encoder's arithmetic or the files change
PRECISION = "float16"
DIGEST = "sha256"
PART = ".part"
ABANDONED = 3600  # seconds after which an unfinished file has no writer any more


def prompt_key(encoder_identity, text, max_length):
    """Name of a prompt's entry; `encoder_identity` as in `EncoderFiles.identity`, `max_length` as in `TextEncoder`."""
    return hashlib.sha256(json.dumps([FORMAT, PRECISION, encoder_identity, max_length, text]).encode()).hexdigest()


class PromptCache:
    """Text states by key in `folder`, which is made when the first prompt is kept; at most `limit` bytes.

    Beyond the limit the prompts that were not asked for the longest go. No method raises for what is wrong with the
    folder or its files: a damaged entry is removed, and one that can't be written is reported to the log.
    """

    def __init__(self, folder, limit=256 * 2**20):
        self.folder = folder
        self.limit = limit

    def path(self, key):
        return os.path.join(self.folder, key + ".safetensors")

    def find(self, key):
        """The text states (1, T, text_dim) float16 of a key, or None."""
        path = self.path(key)
        try:
            with safe_open(path, "pt") as file:
                states, digest = file.get_tensor("text_states").clone(), (file.metadata() or {}).get(DIGEST)
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError):
            digest = None
        if digest is None or digest != digest_of(states):
            remove(path)
            return None
        try:
            os.utime(path)  # the last time it was asked for
        except OSError:
            pass
        return states

    def keep(self, key, states):
        """Writes the text states (1, T, text_dim) float16 of a key."""
        states = states.cpu().contiguous()
        part = os.path.join(self.folder, f"{key}.{uuid.uuid4().hex}{PART}")
        try:
            os.makedirs(self.folder, exist_ok=True)
            save_file({"text_states": states}, part, metadata={DIGEST: digest_of(states)})
            os.replace(part, self.path(key))
            self.trim()
        except (SafetensorError, OSError) as error:
            remove(part)
            logging.warning(f"ELLA's prompt cache could not be written ({error}); prompts are read anew instead.")

    def trim(self):
        """Removes the entries not asked for the longest beyond the limit, and what a killed process left."""
        entries = []
        with os.scandir(self.folder) as files:
            for file in files:
                try:
                    stat = file.stat()
                except FileNotFoundError:
                    continue  # another process was faster
                if file.name.endswith(".safetensors"):
                    entries.append((stat.st_mtime, stat.st_size, file.path))
                elif file.name.endswith(PART) and stat.st_mtime < time.time() - ABANDONED:
                    remove(file.path)
        total = sum(size for _, size, _ in entries)
        for _, size, path in sorted(entries):
            if total <= self.limit:
                break
            remove(path)
            total -= size


def digest_of(states):
    return hashlib.sha256(states.numpy().tobytes()).hexdigest()


def remove(path):
    try:
        os.remove(path)
    except OSError:
        pass  # another process removed it or reads it just now
