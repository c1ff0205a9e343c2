from comfy_execution.graph_utils import ExecutionBlocker

from ..ella_core.host.apply import apply_ella
from .schema import ELLA, io

NO_NEGATIVE = (
    "The negative output of Apply ELLA is wired, but nothing is wired to its negative or clip_negative input; wire an "
    "ELLA Text Encode (its prompt may be empty) to negative."
)


class ELLAApplyConditioning(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="ELLAApplyConditioning",
            display_name="Apply ELLA",
            category="model/conditioning",
            description="Gives the model ELLA's tokens for the prompts, new ones at every denoising step. Works "
            "with every sampler and scheduler; no steps or sigmas to wire.",
            search_aliases=["ella", "apply ella", "long prompt", "dense prompt", "prompt following", "t5"],
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="The checkpoint's model: Stable Diffusion 1.5 for the released connector, SDXL for one "
                    "made for it. LoRAs and other patches as you like.",
                ),
                ELLA.Input("ella", tooltip="The connector from Load ELLA."),
                io.Conditioning.Input("positive", tooltip="What you want to see, from ELLA Text Encode."),
                io.Conditioning.Input(
                    "negative", optional=True, tooltip="What you do not want to see, from ELLA Text Encode."
                ),
                io.Conditioning.Input(
                    "clip_positive",
                    optional=True,
                    tooltip="A CLIP Text Encode whose tokens are added to the positive ones: LoRA trigger words, "
                    "embeddings, styles.",
                ),
                io.Conditioning.Input(
                    "clip_negative",
                    optional=True,
                    tooltip="A CLIP Text Encode whose tokens are added to the negative ones. Alone, it is the "
                    "negative.",
                ),
            ],
            outputs=[
                io.Model.Output(tooltip="The model to sample with; the one you wired in stays as it was."),
                io.Conditioning.Output(
                    display_name="positive", tooltip="For the sampler's positive, or any conditioning node before it."
                ),
                io.Conditioning.Output(display_name="negative", tooltip="For the sampler's negative."),
            ],
        )

    @classmethod
    def execute(cls, model, ella, positive, negative=None, clip_positive=None, clip_negative=None) -> io.NodeOutput:
        model, positive, negative = apply_ella(model, ella, positive, negative, clip_positive, clip_negative)
        return io.NodeOutput(model, positive, ExecutionBlocker(NO_NEGATIVE) if negative is None else negative)
