from typing_extensions import override

from ..ella_core.host.model_folders import register_model_folders
from .apply import ELLAApplyConditioning
from .attention_map import ELLAAttentionMap
from .diagnose import ELLADiagnose
from .loaders import LoadELLA, LoadELLATextEncoder
from .replacements import register_replacements
from .schema import ComfyExtension, io
from .text_encode import T5TextEncode
from .token_report import ELLATokenReport

NODES = [
    LoadELLA,
    LoadELLATextEncoder,
    T5TextEncode,
    ELLAApplyConditioning,
    ELLAAttentionMap,
    ELLATokenReport,
    ELLADiagnose,
]


class ELLAExtension(ComfyExtension):
    @override
    async def on_load(self) -> None:
        register_model_folders()
        await register_replacements()

    @override
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return NODES


async def comfy_entrypoint() -> ELLAExtension:
    return ELLAExtension()
