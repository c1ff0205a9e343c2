"""The small graphs of the help pages: each node as it is typically wired, by its id.

A node is (type, x, y, width, height or None for its own, what follows its title or None, values of its widgets);
a wire is (place of its node in the list, output, place, input). The node that the page is about is coloured.
"""

PROMPT = "A red fox in a green coat reads a newspaper beside a {}, on a wooden table in front of a rainy window."
PLAIN, WEIGHTED = PROMPT.format("blue teapot"), PROMPT.format("(blue teapot:1.2)")
# For the attention map, whose connector is the small world's, trained on such prompts.
SHAPES = (
    "On the left there is a small red circle. A large blue square lies to the right of the red circle. "
    "In the top row, two small green triangles are drawn with crisp edges."
)
CHECKPOINT = {"ckpt_name": "v1-5-pruned-emaonly-fp16.safetensors"}
RELEASED = {"ella_name": "ella-sd1.5-tsc-t5xl.safetensors"}
T5 = {"text_encoder_name": "models--google--flan-t5-xl--text_encoder_model.safetensors"}
POSITIVE = {"en": " (positive)", "zh": "\uff08\u6b63\u9762\uff09"}
NEGATIVE = {"en": " (negative)", "zh": "\uff08\u8d1f\u9762\uff09"}


def text_encode(x, y, width, which):
    text, height = (PLAIN, 190) if which is POSITIVE else ("blurry, low quality", 130)
    return ("ELLAT5TextEncode", x, y, width, height, which, {"text": text})


WIRINGS = {
    "LoadELLA": {
        "nodes": [
            ("CheckpointLoaderSimple", 0, 0, 300, None, None, CHECKPOINT),
            ("LoadELLA", 0, 170, 300, None, None, RELEASED),
            ("ELLAApplyConditioning", 360, 0, 220, None, None, {}),
        ],
        "wires": [(0, "MODEL", 2, "model"), (1, "ELLA", 2, "ella")],
    },
    "LoadELLATextEncoder": {
        "nodes": [
            ("LoadELLATextEncoder", 0, 90, 300, None, None, T5),
            text_encode(360, 0, 290, POSITIVE),
            text_encode(360, 265, 290, NEGATIVE),
        ],
        "wires": [(0, "CLIP", 1, "clip"), (0, "CLIP", 2, "clip")],
    },
    "ELLAT5TextEncode": {
        "nodes": [
            ("LoadELLATextEncoder", 0, 90, 300, None, None, T5),
            text_encode(360, 0, 290, POSITIVE),
            text_encode(360, 265, 290, NEGATIVE),
            ("ELLAApplyConditioning", 710, 0, 220, None, None, {}),
        ],
        "wires": [
            (0, "CLIP", 1, "clip"),
            (0, "CLIP", 2, "clip"),
            (1, "CONDITIONING", 3, "positive"),
            (2, "CONDITIONING", 3, "negative"),
        ],
    },
    "ELLAApplyConditioning": {
        "nodes": [
            ("CheckpointLoaderSimple", 0, 0, 290, None, None, CHECKPOINT),
            ("LoadELLA", 0, 165, 290, None, None, RELEASED),
            text_encode(0, 290, 290, POSITIVE),
            text_encode(0, 555, 290, NEGATIVE),
            ("ELLAApplyConditioning", 360, 0, 210, None, None, {}),
            ("EmptyLatentImage", 360, 240, 210, None, None, {}),
            ("KSampler", 630, 0, 250, None, None, {}),
        ],
        "wires": [
            (0, "MODEL", 4, "model"),
            (1, "ELLA", 4, "ella"),
            (2, "CONDITIONING", 4, "positive"),
            (3, "CONDITIONING", 4, "negative"),
            (4, "MODEL", 6, "model"),
            (4, "positive", 6, "positive"),
            (4, "negative", 6, "negative"),
            (5, "LATENT", 6, "latent_image"),
        ],
    },
    "ELLAAttentionMap": {
        "nodes": [
            ("LoadELLATextEncoder", 0, 0, 300, None, None, {"text_encoder_name": "minilm"}),
            ("LoadELLA", 0, 220, 300, None, None, {"ella_name": "small_world.safetensors"}),
            ("ELLAAttentionMap", 360, 0, 340, 350, None, {"text": SHAPES, "max_length": 128}),
            ("PreviewImage", 760, 0, 600, 350, None, {}),
        ],
        "wires": [(0, "CLIP", 2, "clip"), (1, "ELLA", 2, "ella"), (2, "IMAGE", 3, "images")],
    },
    "ELLATokenReport": {
        "nodes": [
            ("LoadELLATextEncoder", 0, 0, 320, None, None, T5),
            ("ELLATokenReport", 380, 0, 640, 430, None, {"text": WEIGHTED, "max_length": 24}),
        ],
        "wires": [(0, "CLIP", 1, "clip")],
    },
    "ELLADiagnose": {
        "nodes": [
            ("LoadELLA", 0, 0, 300, None, None, RELEASED),
            ("LoadELLATextEncoder", 0, 130, 300, None, None, T5),
            ("CheckpointLoaderSimple", 0, 345, 300, None, None, CHECKPOINT),
            ("ELLADiagnose", 360, 0, 320, 445, None, {}),
            ("PreviewAny", 740, 0, 560, 445, None, {}),
        ],
        "wires": [(0, "ELLA", 3, "ella"), (1, "CLIP", 3, "clip"), (2, "MODEL", 3, "model"), (3, "page", 4, "source")],
    },
}
