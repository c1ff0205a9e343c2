from .schema import ELLA, io, max_length_input


class ELLAAttentionMap(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="ELLAAttentionMap",
            display_name="ELLA Attention Map",
            category="model/conditioning",
            description="Shows what ELLA reads: how much the connector attends to each word of a prompt, from noise"
            " to picture.",
            search_aliases=["ella", "attention map", "heatmap", "what ella reads", "debug prompt", "t5"],
            inputs=[
                io.Clip.Input("clip", tooltip="The language model from Load ELLA Text Encoder."),
                ELLA.Input("ella", tooltip="The connector from Load ELLA."),
                io.String.Input("text", multiline=True, dynamic_prompts=True, tooltip="The prompt to look at."),
                max_length_input(),
                io.Int.Input(
                    "steps",
                    default=20,
                    min=2,
                    max=100,
                    tooltip="Number of timesteps to look at, evenly from 999 (noise) to 0 (picture). They need not "
                    "be the sampler's.",
                ),
                io.String.Input(
                    "blocks",
                    default="all",
                    tooltip="Which of the connector's blocks are averaged: all, or numbers from 1 such as 1, 3-5.",
                ),
                io.String.Input(
                    "heads",
                    default="all",
                    tooltip="Which attention heads are averaged: all, or numbers from 1 such as 1, 3-5.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    tooltip="Words from left to right, timesteps from top to bottom. Bright is a word's own maximum."
                ),
                io.String.Output(
                    display_name="CSV",
                    tooltip="The attention itself, a line for each timestep and a column for each word.",
                ),
            ],
        )

    @classmethod
    def execute(cls, clip, ella, text, max_length, steps, blocks, heads) -> io.NodeOutput:
        from ..ella_core.host.attention_map import map_attention  # here, because few runs need it and each start pays

        return io.NodeOutput(*map_attention(clip, ella, text, max_length, steps, blocks, heads))
