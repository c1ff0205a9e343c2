import logging

from .schema import ELLA, io
from .shown_text import shown_text


class ELLADiagnose(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="ELLADiagnose",
            display_name="ELLA Diagnose",
            category="utilities",
            description="Checks ELLA's files, folders, versions and devices, and writes a page to read and to paste"
            " into an issue. It holds no personal paths.",
            search_aliases=["ella", "diagnose", "ella debug", "ella help", "ella check", "troubleshoot"],
            inputs=[
                ELLA.Input(
                    "ella", optional=True, tooltip="The connector from Load ELLA, to check what it fits. Not needed."
                ),
                io.Clip.Input(
                    "clip",
                    optional=True,
                    tooltip="The language model from Load ELLA Text Encoder, to check what it fits. Not needed.",
                ),
                io.Model.Input(
                    "model", optional=True, tooltip="The model that Apply ELLA gets, to check what it fits. Not needed."
                ),
                io.Boolean.Input(
                    "self_test",
                    default=False,
                    optional=True,
                    tooltip="Also samples small random models with everything that ELLA needs of this ComfyUI, and says"
                    " what held. Takes a few seconds.",
                ),
            ],
            outputs=[
                io.String.Output(display_name="page", tooltip="The page, also shown in the node and the console.")
            ],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def fingerprint_inputs(cls, **kwargs):
        return float("nan")  # equal to nothing, so it looks anew each time: the files may have changed

    @classmethod
    def execute(cls, ella=None, clip=None, model=None, self_test=False) -> io.NodeOutput:
        # Here, because few runs need it and each start pays; the extension's list of nodes names this one.
        from ..ella_core.host.diagnose.diagnosis import diagnose
        from .extension import NODES

        own_nodes = {node.GET_SCHEMA().node_id: node for node in NODES}
        page = diagnose(ella, clip, model, own_nodes, with_self_test=self_test)
        logging.info("%s", page)
        return shown_text(cls, page)
