import logging

from ..ella_core.host.clip import prompt_pieces
from ..ella_core.host.remembering_clip import encode_prompt
from ..ella_core.prompts.token_count import cut_sentence, token_count
from .schema import io, max_length_input
from .shown_text import show_text


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
                    tooltip="The prompt, in whole sentences. (word:1.3) weighs a word as in CLIP prompts. BREAK on a "
                    "line of its own parts it: the parts are read one by one and joined.",
                ),
                max_length_input(),
            ],
            outputs=[io.Conditioning.Output(tooltip="What the language model read (text states), for Apply ELLA.")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, clip, text, max_length) -> io.NodeOutput:
        conditioning = encode_prompt(clip, text, max_length)
        wholes, reads = (
            prompt_pieces(clip, text, length, "ELLA Text Encode", spell_unreadable=True) for length in (0, max_length)
        )
        cut = cut_sentence(wholes, reads)
        if cut:
            logging.warning(f"ELLA Text Encode: {cut}")
        show_text(cls, "\n".join([token_count(reads), *([cut] if cut else [])]))
        return io.NodeOutput(conditioning)
