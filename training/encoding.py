"""What is encoded of a picture and a prompt, and by what: the frozen halves that no gradient ever enters."""

from __future__ import annotations

from dataclasses import asdict

from ella_core.connectors.facts import TextEncoderFacts
from ella_core.language_models.kinds import load_text_encoder

from .errors import TrainingError
from .host_vae import HostVAE


class Encoding:
    """The checkpoint's VAE and a frozen language model.

    `max_length` pads and cuts prompts to that many token ids; 0 is the flexible length. `device` is the language
    model's; the host chooses the VAE's by itself. `facts` are those of the text encoder as a connector's file has them.
    """

    def __init__(self, checkpoint, text_encoder, max_length=128, tokenizer=None, dtype=None, device="cpu"):
        self.vae = HostVAE(checkpoint)
        self.text_encoder = load_text_encoder(text_encoder, tokenizer, dtype).to(device)
        self.max_length = max_length
        self.facts = text_encoder_facts(self.text_encoder, max_length)

    def latents(self, pixels):
        """(h, w, 3) in 0..1 -> (1, 4, h/8, w/8) float32 in the UNet's own space, on the CPU."""
        return self.vae.encode(pixels)

    def text_states(self, prompt):
        """A prompt -> text states (1, T, text_dim) in the language model's dtype, on the CPU."""
        states = self.text_encoder.encode(prompt, self.max_length).cpu().clone()  # no inference tensor any more
        if not states.isfinite().all():
            raise TrainingError(
                f"The language model gave text states that are not finite for the prompt that begins with "
                f'"{prompt[:40]}"; use the dtype that it was trained in.'
            )
        return states


def text_encoder_facts(encoder, max_length):
    """What `ella.text_encoder` in a connector's file says of a TextEncoder, see docs/connector_format.md."""
    facts = TextEncoderFacts(
        architecture=encoder.architecture,
        hidden_size=encoder.text_dim,
        dtype=str(encoder.dtype).removeprefix("torch."),
        max_length=max_length or None,
        padding=bool(max_length),
    )
    return asdict(facts)
