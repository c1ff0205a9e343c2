"""A CLIP that remembers on disk what its text encoder read, and loads it only for a prompt that is new."""

import os

import comfy.model_management
import comfy.sd
import folder_paths
import torch

from ..language_models.t5 import inspect_text_encoder
from ..prompts.prompt_cache import PromptCache, prompt_key
from .clip import load_clip, read_prompt
from .conditioning import text_states_mark


class RememberingCLIP(comfy.sd.CLIP):
    """The CLIP of the text encoder at `path`, loaded when somebody asks for more of it than a prompt that is known.

    Clones are the host's own: what other nodes change in them is not what was remembered.
    """

    def __init__(self, path, identity, cache):
        super().__init__(no_init=True)
        self.path = path
        self.identity = identity
        self.cache = cache
        self.loaded = None

    def __getattr__(self, name):
        # Reached for what `CLIP.__init__` would have set, and for names that no CLIP has.
        if vars(self).get("loaded", self) is not None or name.startswith("__"):
            raise AttributeError(name)
        self.loaded = load_clip(self.path)
        vars(self).update(vars(self.loaded))
        return getattr(self, name)

    def read(self, text, max_length):
        """CONDITIONING of a prompt from the cache, or read by the text encoder and then kept there."""
        key = prompt_key(self.identity, text, max_length)
        states = self.cache.find(key)
        if states is None:
            conditioning = read_prompt(self, text, max_length)
            self.cache.keep(key, conditioning[0][0])
            return conditioning
        pooled = torch.zeros(1, states.shape[-1], device=comfy.model_management.intermediate_device())
        return [[states.to(pooled.device), {"pooled_output": pooled} | text_states_mark()]]


def remembering_clip(path):
    """RememberingCLIP of the text encoder at `path`; its prompts lie in the host's user folder, hidden from the web.

    Raises ELLAError for files that are no text encoder, as loading it would.
    """
    folder = os.path.join(folder_paths.get_system_user_directory("ella"), "prompts")
    files, _, _ = inspect_text_encoder(path)
    return RememberingCLIP(path, files.identity(), PromptCache(folder))


def encode_prompt(clip, text, max_length=0):
    """Prompt -> CONDITIONING of text states as `read_prompt` gives it, from the cache where the CLIP has one."""
    return clip.read(text, max_length) if isinstance(clip, RememberingCLIP) else read_prompt(clip, text, max_length)
