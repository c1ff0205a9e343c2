"""Which files a text encoder consists of, under the names that users have them."""

from __future__ import annotations

import glob
import hashlib
import ntpath
import os
from dataclasses import dataclass
from pathlib import Path

from ..errors import ELLAError, file_name, of_error, quoted
from ..json_file import read_json
from ..released import GET_TEXT_ENCODER
from ..safetensors_file import LONGEST_HEADER, header_length

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
EXTENSIONS = (".safetensors", ".sft")
ENCODER_EXTENSIONS = (*EXTENSIONS, ".gguf")
SAMPLES, SAMPLE_SIZE = 64, 4096  # of a weights file's values, evenly spread, in bytes
TOKENIZERS = ("tokenizer.json", "spiece.model")
# Names that also end in "_config.json" after a browser prefixed them with the folder's name.
OTHER_CONFIGS = ("tokenizer_config.json", "generation_config.json", "preprocessor_config.json", "adapter_config.json")


@dataclass(frozen=True)
class EncoderFiles:
    """Paths of a text encoder; `config` is None for a single weights file, `tokenizer` where none lies beside it."""

    weights: tuple[str, ...]
    config: str | None = None
    tokenizer: str | None = None

    def identity(self):
        """What tells these files from others without reading all of the weights: a hash in hexadecimal.

        Of each weights file its header, size, time of change and samples of its values count, since a copy may keep the
        time of another file; of config and tokenizer the content; where they lie does not. Raises ELLAError for files
        that the system doesn't let be read.
        """
        digest = hashlib.sha256()
        try:
            for path in self.weights:
                self.add_samples(digest, path)
            for path in (self.config, self.tokenizer):
                digest.update(b"none" if path is None else Path(path).read_bytes())
        except OSError as error:
            raise ELLAError(
                f"{file_name(path)} can't be read ({of_error(error)}); allow ComfyUI to read it."
            ) from error
        return digest.hexdigest()

    @staticmethod
    def add_samples(digest, path):
        with open(path, "rb") as file:
            stat = os.fstat(file.fileno())
            digest.update(f"{stat.st_size} {stat.st_mtime_ns} ".encode())
            digest.update(file.read(8 + min(header_length(path), LONGEST_HEADER)))
            start = file.tell()
            for sample in range(SAMPLES):
                file.seek(start + (stat.st_size - start) * sample // SAMPLES)
                digest.update(file.read(SAMPLE_SIZE))


def config_prefixes(folder):
    """The prefixes under which `folder` holds a config.json, see `prefixes_of`."""
    paths = glob.glob(os.path.join(glob.escape(folder), "*" + CONFIG))
    return prefixes_of(sorted(os.path.basename(path) for path in paths if os.path.isfile(path)))


def prefixes_of(names):
    """The prefixes under which files of these names hold a config.json: "" for the plain name.

    A browser download of `config.json` from the folder F is saved as `F_config.json`; then the prefix is "F_".
    """
    prefixes = []
    for name in names:
        if name == CONFIG:
            prefixes.insert(0, "")
        elif name.endswith("_" + CONFIG) and not name.endswith(OTHER_CONFIGS):
            prefixes.append(name[: -len(CONFIG)])
    return prefixes


def find_encoder_files(path):
    """EncoderFiles of a .safetensors file, of a Hugging Face folder, or of a prefix that its files share.

    Raises ELLAError where a file is missing, naming it.
    """
    path = os.fspath(path)
    if os.path.isfile(path):
        if not path.lower().endswith(ENCODER_EXTENSIONS):
            raise ELLAError(
                f"{file_name(path)} is not a .safetensors file; choose the language model's model.safetensors "
                "or its folder."
            )
        return EncoderFiles((path,), tokenizer=first_file(*siblings(path)))
    if os.path.isdir(path):
        prefixes = config_prefixes(path)
        if not prefixes:
            raise ELLAError(
                f"The folder {file_name(path)} has no {CONFIG}; it is needed beside the weights: {GET_TEXT_ENCODER}."
            )
        return folder_files(path, prefixes[0])
    folder, name = os.path.split(path)
    if name + "_" in config_prefixes(folder):
        return folder_files(folder, name + "_")
    raise ELLAError(f"{file_name(path)} does not exist; {GET_TEXT_ENCODER}.")


def siblings(path):
    """Where the tokenizer of a single weights file may lie: under the same prefix, as `F_model.safetensors`."""
    if not path.endswith("_" + WEIGHTS):
        return ()
    return tuple(path[: -len(WEIGHTS)] + name for name in TOKENIZERS)


def folder_files(folder, prefix):
    config = os.path.join(folder, prefix + CONFIG)
    shown = quoted(prefix) if prefix else f"The folder {file_name(folder)}"

    def named(name):
        # Files of a prefixed set may have been renamed back one by one, so the plain name counts as well.
        return os.path.join(folder, prefix + name), os.path.join(folder, name)

    tokenizer = first_file(*(path for name in TOKENIZERS for path in named(name)))
    if tokenizer is None:
        raise ELLAError(f"{shown} has neither tokenizer.json nor spiece.model; {GET_TEXT_ENCODER}.")
    weights = first_file(*named(WEIGHTS))
    if weights is not None:
        return EncoderFiles((weights,), config, tokenizer)
    index = first_file(*named(INDEX))
    if index is None:
        pickled = first_file(*named("pytorch_model.bin"), *named("pytorch_model.bin.index.json"))
        found = "only a pytorch_model.bin, which can run code when it is opened" if pickled else "no model.safetensors"
        raise ELLAError(f"{shown} has {found}; {GET_TEXT_ENCODER}.")
    names = weight_files(index)
    shards = [first_file(*named(name)) for name in names]
    missing = [name for name, shard in zip(names, shards) if shard is None]
    if missing:
        raise ELLAError(
            f"{shown} lacks {len(missing)} of its {len(names)} weight files (first: {quoted(missing[0])}); download "
            "them into the same folder."
        )
    return EncoderFiles(tuple(shards), config, tokenizer)


def weight_files(index):
    """Names of the files that a model.safetensors.index.json divides the weights among.

    Raises ELLAError for an index that can't be read, or that names anything but .safetensors files of its own folder.
    """
    weight_map = read_json(index).get("weight_map")
    names = list(weight_map.values()) if isinstance(weight_map, dict) else []
    if not names:
        raise ELLAError(f"{file_name(index)} names no weight files in its weight_map; download it again.")
    for name in names:
        # With ntpath, for which both slashes and a drive's letter lead elsewhere.
        if not isinstance(name, str) or ntpath.basename(name) != name or not name.lower().endswith(EXTENSIONS):
            raise ELLAError(
                f"{file_name(index)} names {quoted(name)} among the weights, where .safetensors files of its own "
                "folder are expected; download it again."
            )
    return sorted(set(names))


def first_file(*paths):
    return next((path for path in paths if os.path.isfile(path)), None)
