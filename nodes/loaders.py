from ..ella_core.errors import ELLAError
from ..ella_core.host.clip import load_clip
from ..ella_core.host.connector_model import load_connector_model
from ..ella_core.host.model_folders import connector_names, connector_path, encoder_path, encoder_paths
from ..ella_core.host.remembering_clip import remembering_clip
from ..ella_core.released import CONNECTOR
from .schema import ELLA, io


def found_or_why(find, name):
    """True, or the sentence that a node's validation shows."""
    try:
        find(name)
    except ELLAError as error:
        return str(error)
    return True


class LoadELLA(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LoadELLA",
            display_name="Load ELLA",
            category="model/loaders",
            description="Loads ELLA's connector, the small network that turns what a language model read into "
            "tokens for a Stable Diffusion UNet.",
            search_aliases=["ella", "ella loader", "connector", "long prompt", "dense prompt", "prompt following"],
            inputs=[
                io.Combo.Input(
                    "ella_name",
                    options=connector_names(),
                    display_name="ella_name",
                    tooltip="The connector file, from the model folder 'ella': for Stable Diffusion 1.5 it is "
                    f"{CONNECTOR.name}.",
                ),
            ],
            outputs=[ELLA.Output(display_name="ELLA", tooltip="The connector, for Apply ELLA.")],
        )

    @classmethod
    def validate_inputs(cls, ella_name):
        return found_or_why(connector_path, ella_name)

    @classmethod
    def execute(cls, ella_name) -> io.NodeOutput:
        return io.NodeOutput(load_connector_model(connector_path(ella_name)))


class LoadELLATextEncoder(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LoadELLATextEncoder",
            display_name="Load ELLA Text Encoder",
            category="model/loaders",
            description="Loads the language model that reads the prompt for ELLA: FLAN-T5-XL for the released "
            "connector, or another one, encoder or decoder, for a connector that was trained with it.",
            search_aliases=["ella", "t5", "flan-t5", "text encoder", "t5 loader", "long prompt"],
            inputs=[
                io.Combo.Input(
                    "text_encoder_name",
                    options=sorted(encoder_paths()),
                    display_name="text_encoder_name",
                    tooltip="The language model, a folder or a single .safetensors file from the model folders "
                    "'ella_encoder' and 'text_encoders'.",
                ),
                io.Boolean.Input(
                    "prompt_cache",
                    default=False,
                    optional=True,
                    advanced=True,
                    tooltip="Keeps on disk what was read of each prompt (256 MB at most), so that a workflow opened"
                    " again samples without loading the language model.",
                ),
                io.Combo.Input(
                    "precision",
                    options=["auto", "float16", "bfloat16", "float32"],
                    default="auto",
                    optional=True,
                    advanced=True,
                    tooltip="What the language model computes in. auto is what its connectors were trained with: "
                    "float16 for T5, where anything else gives other pictures; for others bfloat16 on a GPU, float32 "
                    "without.",
                ),
                io.Combo.Input(
                    "device",
                    options=["default", "cpu"],
                    default="default",
                    optional=True,
                    advanced=True,
                    tooltip="cpu keeps the language model out of the GPU's memory, and reads a prompt more slowly.",
                ),
            ],
            outputs=[io.Clip.Output(tooltip="The language model, for ELLA Text Encode or any node that takes a CLIP.")],
        )

    @classmethod
    def validate_inputs(cls, text_encoder_name):
        return found_or_why(encoder_path, text_encoder_name)

    @classmethod
    def execute(cls, text_encoder_name, prompt_cache=False, precision="auto", device="default") -> io.NodeOutput:
        load = remembering_clip if prompt_cache else load_clip
        return io.NodeOutput(load(encoder_path(text_encoder_name), precision, device))
