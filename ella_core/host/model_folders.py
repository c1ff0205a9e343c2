"""Where ComfyUI keeps ELLA's files: the model folders `ella`, `ella_encoder` and the host's own `text_encoders`."""

import os

import folder_paths

from ..errors import ELLAError
from ..language_models.encoder_files import ENCODER_EXTENSIONS, EXTENSIONS, config_prefixes, prefixes_of
from ..released import CONNECTOR, REPOSITORY, TEXT_ENCODER, TEXT_ENCODER_FOLDER
from .folder_listing import walk_files

CONNECTORS = CONNECTOR.folder
ENCODERS = ("ella_encoder", TEXT_ENCODER.folder)


def register_model_folders():
    """Adds the folders `ella` and `ella_encoder` to the host's, after those of extra_model_paths.yaml."""
    for name, extensions in ((CONNECTORS, EXTENSIONS), (ENCODERS[0], ENCODER_EXTENSIONS)):
        folder_paths.add_model_folder_path(name, os.path.join(folder_paths.models_dir, name))
        paths, _ = folder_paths.folder_names_and_paths[name]
        # A folder of no stated extensions lists every file, and one from extra_model_paths.yaml states none.
        folder_paths.folder_names_and_paths[name] = (paths, set(extensions))


def connector_names():
    """File names for a connector, relative to the model folder."""
    return sorted(file_paths(CONNECTORS, EXTENSIONS))


def connector_path(name):
    """Full path of a connector's file; ELLAError says where to put it when it is not there."""
    for spelling in spellings(name):
        path = folder_paths.get_full_path(CONNECTORS, spelling)
        if path is not None:
            return path
    raise ELLAError(
        f"{name} was not found in the model folder {CONNECTORS}; put {CONNECTOR.name} ({REPOSITORY}) into "
        f"models/{CONNECTOR.folder}, then choose it."
    )


def encoder_paths():
    """Text encoders by name: model files, folders with a config.json, and prefixes that downloads share.

    The path of a link to nothing is None.
    """
    found = {}
    for folder_name in ENCODERS:
        for root in folder_paths.get_folder_paths(folder_name):
            for folder, files in walk_files(root):
                for prefix in prefixes_of(files):
                    path = os.path.normpath(os.path.join(folder, prefix.rstrip("_")))
                    found.setdefault(name_in(root, path), path)
        for name, path in file_paths(folder_name, ENCODER_EXTENSIONS).items():
            found.setdefault(name, path)
    return found


def file_paths(folder_name, extensions):
    """Files of a model folder with one of these extensions by name; the path of a link to nothing is None."""
    found = {}
    for root in folder_paths.get_folder_paths(folder_name):
        for folder, files in walk_files(root):
            for file in files:
                if os.path.splitext(file)[1].lower() in extensions:
                    path = os.path.join(folder, file)
                    found.setdefault(os.path.relpath(path, root), path if os.path.isfile(path) else None)
    return found


def name_in(root, path):
    """What a list calls the path of a text encoder below the model folder `root`, which may be one itself."""
    return os.path.basename(path) if os.path.normpath(root) == path else os.path.relpath(path, root)


def encoder_path(name):
    """Full path of a text encoder's file or folder, found without a list of all; ELLAError says where to put it."""
    roots = [root for folder_name in ENCODERS for root in folder_paths.get_folder_paths(folder_name)]
    for spelling in spellings(name):
        inside = os.path.relpath(os.path.join(os.sep, spelling), os.sep)  # no way out of the folder
        for root in roots:
            path = os.path.normpath(os.path.join(root, inside))
            if is_encoder(path):
                return path
            root = os.path.normpath(root)
            if spelling == os.path.basename(root) and "" in config_prefixes(root):
                return root
    raise ELLAError(
        f"{name} was not found in the model folders {' or '.join(ENCODERS)}; put the folder "
        f"{TEXT_ENCODER_FOLDER} ({REPOSITORY}) or its model.safetensors there, then choose it."
    )


def is_encoder(path):
    """Whether a model file, a folder with a config.json, or a prefix of files is there."""
    if os.path.isfile(path):
        return path.lower().endswith(ENCODER_EXTENSIONS)
    if os.path.isdir(path):
        return bool(config_prefixes(path))
    folder, prefix = os.path.split(path)
    return prefix + "_" in config_prefixes(folder)


def spellings(name):
    """A name as it is, and with the separators of this system in place of the other's."""
    return dict.fromkeys((name, name.replace("\\", "/")))
