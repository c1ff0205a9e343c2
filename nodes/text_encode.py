from ..ella_core.host.remembering_clip import encode_prompt
from .schema import io, max_length_input


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
                max_length_input(),
            ],
            outputs=[io.Conditioning.Output(tooltip="What the language model read (text states), for Apply ELLA.")],
        )

    @classmethod
    def execute(cls, clip, text, max_length) -> io.NodeOutput:
        return io.NodeOutput(encode_prompt(clip, text, max_length))
