"""A CLIP that remembers on disk what its text encoder read, and reads the weights only for a prompt that is new."""

import os

import comfy.model_management
import comfy.sd
import folder_paths
import torch

from ..prompts.prompt_cache import PromptCache, prompt_key
from .clip import encoder_of, facts_of, open_clip, read_prompt
from .conditioning import text_states_mark


class RememberingCLIP(comfy.sd.CLIP):
    """An ELLA CLIP, see `open_clip`, with a PromptCache.

    Clones are the host's own: what other nodes change in them is not what was remembered.
    """

    def __init__(self, clip, cache):
        super().__init__(no_init=True)
        vars(self).update(vars(clip))
        self.opened = clip  # as long as this lives, other loaders share the weights
        self.cache = cache

    def read(self, text, max_length):
        """CONDITIONING of a prompt from the cache, or read by the text encoder and then kept there."""
        encoder = encoder_of(self)
        states = self.cache.find(prompt_key(encoder.identity, encoder.dtype, text, max_length))
        if states is None:
            conditioning = read_prompt(self, text, max_length)
            # The files may have changed until their weights were read, so the identity is asked for again.
            self.cache.keep(prompt_key(encoder.identity, encoder.dtype, text, max_length), conditioning[0][0])
            return conditioning
        pooled = torch.zeros(1, states.shape[-1], device=comfy.model_management.intermediate_device())
        return [[states.to(pooled.device), {"pooled_output": pooled} | text_states_mark(facts_of(encoder))]]


def remembering_clip(path, precision="auto", device="default"):
    """RememberingCLIP of the text encoder at `path`; its prompts lie in the host's user folder, hidden from the web.

    Raises ELLAError for files that are no text encoder, as loading it would.
    """
    folder = os.path.join(folder_paths.get_system_user_directory("ella"), "prompts")
    return RememberingCLIP(open_clip(path, precision, device), PromptCache(folder))


def encode_prompt(clip, text, max_length=0):
    """Prompt -> CONDITIONING of text states as `read_prompt` gives it, from the cache where the CLIP has one."""
    return clip.read(text, max_length) if isinstance(clip, RememberingCLIP) else read_prompt(clip, text, max_length)
