from ..ella_core.host.remembering_clip import encode_prompt
from .schema import io


class T5TextEncode(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="ELLAT5TextEncode",
            display_name="ELLA Text Encode",
            category="model/conditioning",
            description="Lets ELLA's language model read a prompt of any length. Wire the result to Apply ELLA.",
            search_aliases=["ella", "t5", "prompt", "text prompt", "long prompt", "dense prompt", "prompt following"],
            inputs=[
                io.Clip.Input("clip", tooltip="The language model from Load ELLA Text Encoder."),
                io.String.Input(
                    "text",
                    multiline=True,
                    dynamic_prompts=True,
                    tooltip="The prompt, in whole sentences. (word:1.3) weighs a word as in CLIP prompts.",
                ),
                io.Int.Input(
                    "max_length",
                    default=0,
                    min=0,
                    max=4096,
                    tooltip="Number of tokens. 0 takes as many as the prompt has; 128 cuts and pads to 128 as in ELLA's training.",
                ),
            ],
            outputs=[io.Conditioning.Output(tooltip="What the language model read (text states), for Apply ELLA.")],
        )

    @classmethod
    def execute(cls, clip, text, max_length) -> io.NodeOutput:
        return io.NodeOutput(encode_prompt(clip, text, max_length))
