"""Where ComfyUI keeps ELLA's files: the model folders `ella`, `ella_encoder` and the host's own `text_encoders`."""

import os

import folder_paths

from ..errors import ELLAError
from ..language_models.encoder_files import EXTENSIONS, config_prefixes
from ..released import CONNECTOR, REPOSITORY, TEXT_ENCODER, TEXT_ENCODER_FOLDER

CONNECTORS = CONNECTOR.folder
ENCODERS = ("ella_encoder", TEXT_ENCODER.folder)


def register_model_folders():
    """Adds the folders `ella` and `ella_encoder` to the host's, after those of extra_model_paths.yaml."""
    for name in (CONNECTORS, ENCODERS[0]):
        folder_paths.add_model_folder_path(name, os.path.join(folder_paths.models_dir, name))
        paths, _ = folder_paths.folder_names_and_paths[name]
        # A folder of no stated extensions lists every file, and one from extra_model_paths.yaml states none.
        folder_paths.folder_names_and_paths[name] = (paths, set(EXTENSIONS))


def connector_names():
    """File names for a connector, as the host lists them."""
    return folder_paths.get_filename_list(CONNECTORS)


def connector_path(name):
    """Full path of a connector's file; ELLAError says where to put it when it is not there."""
    path = folder_paths.get_full_path(CONNECTORS, name)
    if path is None:
        raise ELLAError(
            f"{name} was not found in the model folder {CONNECTORS}; put {CONNECTOR.name} ({REPOSITORY}) into "
            f"models/{CONNECTOR.folder}, then choose it."
        )
    return path


def encoder_paths():
    """Text encoders by name: .safetensors files, folders with a config.json, and prefixes that downloads share."""
    found = {}
    for folder_name in ENCODERS:
        for root in folder_paths.get_folder_paths(folder_name):
            for folder, _, _ in os.walk(root, followlinks=True):
                for prefix in config_prefixes(folder):
                    path = os.path.join(folder, prefix.rstrip("_"))
                    found.setdefault(
                        os.path.relpath(path, root) if path != root else os.path.basename(root), path.rstrip(os.sep)
                    )
        for name in folder_paths.get_filename_list(folder_name):
            if os.path.splitext(name)[1].lower() in EXTENSIONS:
                found.setdefault(name, folder_paths.get_full_path(folder_name, name))
    return found


def encoder_path(name):
    """Full path of a text encoder's file or folder; ELLAError says where to put it when it is not there."""
    path = encoder_paths().get(name)
    if path is None:
        raise ELLAError(
            f"{name} was not found in the model folders {' or '.join(ENCODERS)}; put the folder "
            f"{TEXT_ENCODER_FOLDER} ({REPOSITORY}) or its model.safetensors there, then choose it."
        )
    return path
