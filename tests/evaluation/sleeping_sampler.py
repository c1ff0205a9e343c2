"""Custom nodes for the tests: text, a sampler that sleeps, and small pictures that tell what they were drawn from."""

import hashlib
import os
import re
import time

import torch

try:
    import folder_paths
except ImportError:  # a test reads `colour` and HOLD
    folder_paths = None

HOLD = "hold"  # while a file of this name is in a server's output folder, its sampler sleeps on


class WriteText:
    CATEGORY, FUNCTION = "tests", "write"
    RETURN_TYPES = ("CONDITIONING",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"text": ("STRING", {"multiline": True})}}

    def write(self, text):
        return ([[text, {}]],)


class SleepingSampler:
    CATEGORY, FUNCTION = "tests", "sample"
    RETURN_TYPES = ("LATENT",)

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "seed": ("INT", {"default": 0, "min": 0, "max": 2**64 - 1, "control_after_generate": True}),
                "seconds": ("FLOAT", {"default": 0.0, "min": 0.0, "max": 60.0}),
                "positive": ("CONDITIONING",),
                "negative": ("CONDITIONING",),
                "latent_image": ("LATENT",),
            }
        }

    def sample(self, seed, seconds, positive, negative, latent_image):
        text = positive[0][0]
        time.sleep(seconds)
        while os.path.exists(os.path.join(folder_paths.get_output_directory(), HOLD)):
            time.sleep(0.02)
        if text == "fails":
            raise RuntimeError("this prompt can't be drawn")
        return ({"samples": latent_image["samples"], "drawn": (text, negative[0][0], seed)},)


class DrawColour:
    """A picture of 8x8 pixels whose one colour is the hash of prompt, negative prompt, seed and place in the batch."""

    CATEGORY, FUNCTION = "tests", "draw"
    RETURN_TYPES = ("IMAGE",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"samples": ("LATENT",)}}

    def draw(self, samples):
        colours = [colour(*samples["drawn"], place) for place in range(samples["samples"].shape[0])]
        return (torch.tensor(colours).float()[:, None, None].expand(-1, 8, 8, 3) / 255,)


def colour(text, negative, seed, place):
    """(red, green, blue) of 0 to 255."""
    return list(hashlib.sha256(repr((text, negative, seed, place)).encode()).digest()[:3])


class DrawSquares:
    """The squares of a prompt like "two red squares and one blue square"; with an odd seed the first lacks."""

    CATEGORY, FUNCTION = "tests", "draw"
    RETURN_TYPES = ("IMAGE",)
    COLOURS = {"red": (220, 30, 30), "green": (30, 160, 60), "blue": (40, 60, 220)}
    NUMBERS = {"one": 1, "two": 2, "three": 3}

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"samples": ("LATENT",)}}

    def draw(self, samples):
        text, _, seed = samples["drawn"]
        asked = re.findall(r"(one|two|three) (red|green|blue) square", text)
        colours = [self.COLOURS[colour] for number, colour in asked for _ in range(self.NUMBERS[number])]
        picture = torch.full((1, 96, 96, 3), 128.0)
        for place, colour in enumerate(colours[seed % 2 :]):
            top, left = place // 3 * 32 + 4, place % 3 * 32 + 4
            picture[0, top : top + 24, left : left + 24] = torch.tensor(colour, dtype=torch.float32)
        return (picture / 255,)


NODE_CLASS_MAPPINGS = {
    "WriteText": WriteText,
    "SleepingSampler": SleepingSampler,
    "DrawColour": DrawColour,
    "DrawSquares": DrawSquares,
}
