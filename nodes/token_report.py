from ..ella_core.host.clip import prompt_pieces
from ..ella_core.prompts.token_report import report_of_parts
from .schema import io, max_length_input
from .shown_text import shown_text


class ELLATokenReport(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="ELLATokenReport",
            display_name="ELLA Token Report",
            category="model/conditioning",
            description="Shows the tokens that ELLA's language model makes of a prompt: their number, their "
            "weights, and what was cut.",
            search_aliases=["ella", "token count", "count tokens", "prompt length", "tokenizer", "t5"],
            inputs=[
                io.Clip.Input("clip", tooltip="The language model from Load ELLA Text Encoder."),
                io.String.Input("text", multiline=True, dynamic_prompts=True, tooltip="The prompt to look at."),
                max_length_input(),
            ],
            outputs=[io.String.Output(display_name="report", tooltip="The report, as the node shows it.")],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, clip, text, max_length) -> io.NodeOutput:
        wholes, reads = (
            prompt_pieces(clip, text, length, "ELLA Token Report", spell_unreadable=True) for length in (0, max_length)
        )
        return shown_text(cls, report_of_parts(wholes, reads))
