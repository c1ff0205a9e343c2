"""ComfyUI's own modules inside this process: the only door of this room to the host."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

from ella_core.errors import ELLAError


def import_host(cpu: bool = True) -> SimpleNamespace:
    """ComfyUI's modules by short names, from the folder that COMFYUI names (scripts/host.sh prints it).

    Raises:
        ELLAError: COMFYUI names no ComfyUI.
    """
    folder = Path(os.environ.get("COMFYUI", ""))
    if not (folder / "comfy").is_dir():
        raise ELLAError(
            "The small world draws with ComfyUI's own code and COMFYUI names no ComfyUI: "
            'set it with COMFYUI="$(bash scripts/host.sh)".'
        )
    if str(folder) not in sys.path:
        # Before the repository's root: both have a package named nodes.
        sys.path.insert(0, str(folder))
    from comfy.cli_args import args

    args.cpu = cpu
    # The sub-quadratic attention that a CPU gets by itself is several times slower.
    args.use_pytorch_cross_attention = True
    import comfy.ldm.modules.diffusionmodules.openaimodel as unet
    import comfy.model_sampling as model_sampling
    import comfy.sd as sd

    return SimpleNamespace(unet=unet, sd=sd, model_sampling=model_sampling, folder=folder)
