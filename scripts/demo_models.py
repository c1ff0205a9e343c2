"""Which models the demo draws with: those of a folder, ComfyUI's own, the small world's, or small random ones."""

import os
import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
RANDOM_MODELS = REPO / ".host/demo-models"
FOLDERS = ("checkpoints", "ella", "ella_encoder", "text_encoders")
KINDS = {
    "CheckpointLoaderSimple": "a Stable Diffusion 1.5 checkpoint (folder checkpoints)",
    "LoadELLA": "ELLA's connector (folder ella)",
    "LoadELLATextEncoder": "ELLA's text encoder (folder text_encoders or ella_encoder)",
}


class ModelError(Exception):
    """What is wrong with the models, in a sentence."""


def choose_models(workflow, directory, comfyui, say, small_world=None):
    """(file name for each loader node, model folders that the server gets beside its own, None where it needs none).

    `directory` is the user's folder of models or None; `small_world` a folder of the small world to draw with whatever
    else is there, or None; `say` takes each remark. ComfyUI is in this process by then.
    """
    import demo_small_world
    import folder_paths
    from utils.extra_config import load_extra_path_config

    from ella_core.host.model_folders import EXTENSIONS, register_model_folders

    wanted = {node["type"]: node["properties"]["models"][0] for node in workflow["nodes"] if node["type"] in KINDS}
    if directory is not None:
        for folder in FOLDERS:
            extensions = EXTENSIONS if folder == "ella" else folder_paths.supported_pt_extensions
            folder_paths.folder_names_and_paths[folder] = ([os.path.join(directory, folder)], extensions)
        chosen = _choose_from(directory, wanted)
        _say_chosen(chosen, say)
        return chosen, directory

    config = os.path.join(comfyui, "extra_model_paths.yaml")
    if os.path.isfile(config):
        load_extra_path_config(config)
    register_model_folders()
    if small_world is not None:
        return demo_small_world.make_models(small_world, comfyui, say)
    chosen = {kind: _by_name(names, wanted[kind]["name"]) for kind, names in _listed_names().items()}
    if None not in chosen.values():
        _say_chosen(chosen, say)
        return chosen, None

    if demo_small_world.is_stored(demo_small_world.STORED):
        say("ComfyUI has no models for ELLA yet; the README names the real ones.")
        return demo_small_world.make_models(demo_small_world.STORED, comfyui, say)

    _make_random_models(wanted.values(), comfyui)
    say("ComfyUI has no models for ELLA yet, so small ones of random weights are used:")
    say("the picture shows that the machinery works, not what ELLA draws. The real files are at")
    for model in wanted.values():
        say(f"  {model['url']}")
        say(f"    which goes to {os.path.join(folder_paths.models_dir, model['directory'], model['name'])}")
    for folder in FOLDERS:
        folder_paths.add_model_folder_path(folder, str(RANDOM_MODELS / folder), is_default=True)
    return {kind: model["name"] for kind, model in wanted.items()}, str(RANDOM_MODELS)


def _listed_names():
    """The names that each loader node would offer, by the host's present model folders."""
    import folder_paths

    from ella_core.host.model_folders import connector_names, encoder_paths

    return {
        "CheckpointLoaderSimple": folder_paths.get_filename_list("checkpoints"),
        "LoadELLA": connector_names(),
        "LoadELLATextEncoder": list(encoder_paths()),
    }


def _by_name(names, wanted):
    """The workflow's own name or, for a text encoder, that of the folder it comes from; None without either."""
    return next((name for name in (wanted, wanted.removesuffix("_model.safetensors")) if name in names), None)


def _choose_from(directory, wanted):
    """A file of `directory` for each loader node: the workflow's where it is there, else the first."""
    names = _listed_names()
    missing = [KINDS[kind] for kind in wanted if not names[kind]]
    if missing:
        raise ModelError(
            f"{directory} lacks {' and '.join(missing)}; give a folder that has all three, or leave --models away."
        )
    return {kind: _by_name(names[kind], model["name"]) or names[kind][0] for kind, model in wanted.items()}


def _say_chosen(models, say):
    for kind, name in models.items():
        say(f"{KINDS[kind]}: {name}")


def _make_random_models(models, comfyui):
    if all((RANDOM_MODELS / model["directory"] / model["name"]).is_file() for model in models):
        return
    command = [sys.executable, str(REPO / "scripts/random_models.py"), comfyui, str(RANDOM_MODELS)]
    if subprocess.run(command, stdout=sys.stderr).returncode:
        raise ModelError("The random models could not be made; the lines above say why.")
