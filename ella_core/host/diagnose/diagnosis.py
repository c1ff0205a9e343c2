"""ELLA Diagnose: a page on this installation that can be pasted into an issue, without personal paths."""

import importlib.metadata
import os
import platform
import re

import comfy.model_management
import comfy.model_patcher
import comfyui_version
import folder_paths
import torch
from comfy.cli_args import args
from comfy.patcher_extension import WrappersMP

from ...connectors.kinds import describe, kind_of_network
from ...errors import ELLAError
from ...pack_version import pack_version
from ...released import CONNECTOR, REPOSITORY, TEXT_DIM, TEXT_ENCODER, TEXT_ENCODER_FOLDER
from ..clip import encoder_of
from ..clip_tokenizer import ELLATokenizer
from ..connector_model import check_text_dim, compute_dtype, connector_name, is_connector
from ..model_folders import CONNECTORS, ENCODERS
from ..sampler_patch import KEY, check_model, context_dim_of
from .model_inventory import Entry, connectors, files_not_listed, reason, text_encoders
from .node_owners import earlier_packs, taken_nodes
from .public_paths import PublicPaths
from .self_test import self_test

FOLDERS = (CONNECTORS, *ENCODERS)
PACKAGES = ("torch", "transformers", "safetensors", "sentencepiece", "einops", "matplotlib")
# Of the host's options those that decide on precision, memory and speed; none of them holds a path.
OPTIONS = re.compile(r"fp8|fp16|bf16|fp32|fp64|vram|gpu_only|^cpu|smart_memory|attention|directml|^fast$|deterministic")
MOST_ENTRIES = 20
LONGEST_LINE = 500


def diagnose(ella=None, clip=None, model=None, own_nodes=None, with_self_test=False):
    """A page of plain text for what is wired (connector, CLIP, MODEL, each may be None) and what is installed.

    It reads headers of files, no weights, and loads nothing but the small models of `self_test`, where that is wanted.
    `own_nodes` are {node id: class} of this pack. It never raises; what can't be told is a line saying so.
    """
    paths = PublicPaths(FOLDERS)
    found = [entries_of(connectors), entries_of(text_encoders)]
    sections = {
        "To do": attempt(things_to_do, *found, ella, clip, model, own_nodes or {}),
        "Versions": attempt(versions),
        "Device": attempt(device),
        "Wired": attempt(wired, ella, clip, model),
        "Model folders": attempt(model_folders, paths),
        "Connectors, for Load ELLA": attempt(entry_lines, found[0]),
        "Text encoders, for Load ELLA Text Encoder": attempt(entry_lines, found[1]),
        "Which text encoder fits which connector": attempt(fits, *found),
    }
    if with_self_test:
        sections["Self-test"] = attempt(self_test)
    lines = [f"ELLA {pack_version()} on ComfyUI {comfyui_version.__version__}"]
    for title, section in sections.items():
        # Hidden first: a path that was cut or written otherwise would not be found any more.
        lines += ["", title, *("  " + one_line(paths.hide(line)) for line in section)]
    return "\n".join(lines)


def attempt(function, *arguments):
    """The lines that a function returns; where it fails, one that says why."""
    try:
        return function(*arguments)
    except Exception as error:  # nothing that is broken in an installation may keep its diagnosis back
        return [reason(error)]


def entries_of(inventory):
    """The entries that a function lists; where it fails, one that says why."""
    try:
        return inventory()
    except Exception as error:
        return [Entry("the list", reason(error))]


def one_line(text):
    """A text that a file may have a part in, without line breaks and without what would end a code block."""
    return " ".join(text.replace("`", "'").split())[:LONGEST_LINE]


def things_to_do(connectors, encoders, ella, clip, model, own_nodes):
    lines = list(attempt(misfits, ella, clip, model))
    if not any(entry.text_dim for entry in connectors):
        lines.append(
            f"No connector: put {CONNECTOR.name} ({CONNECTOR.size}, {REPOSITORY}) into models/{CONNECTOR.folder}."
        )
    wanted = {entry.text_dim for entry in connectors if entry.text_dim} or {TEXT_DIM}
    if not any(entry.text_dim in wanted for entry in encoders):
        lines.append(
            f"No text encoder for the connector: put model.safetensors ({TEXT_ENCODER.size}) of the folder "
            f"{TEXT_ENCODER_FOLDER} ({REPOSITORY}) into models/{TEXT_ENCODER.folder}."
        )
    others = files_not_listed()
    if others:
        lines.append(f"Only .safetensors files are listed, and models/{CONNECTORS} holds {first_names(others)}.")
    lines += [f"Python's package {name} is missing: pip install {name}" for name in PACKAGES if not version_of(name)]
    for pack, node_ids in taken_nodes(own_nodes).items():
        lines.append(
            f"Another pack, {pack}, registered this pack's node ids {first_names(node_ids)}, so graphs get its nodes "
            "instead of these; disable one of the two packs."
        )
    for pack, node_ids in earlier_packs().items():
        lines.append(
            f"Another ELLA pack, {pack}, is installed ({first_names(node_ids)}). Its wires of type ELLA do not work "
            "with the nodes of this pack; scripts/convert_workflow.py converts its workflows."
        )
    return lines or ["nothing was found wrong"]


def misfits(ella, clip, model):
    """What is wrong with the wired objects, a sentence for each."""
    lines = []
    if ella is not None and not is_connector(ella):
        lines.append("The wired ella does not come from this pack's Load ELLA; wire that one.")
    if clip is not None and not is_text_encoder(clip):
        lines.append("The wired clip does not come from Load ELLA Text Encoder; wire that one.")
    checks = []
    if is_connector(ella) and model is not None:
        checks.append(lambda: check_model(model, ella))
    encoder = encoder_of(clip) if is_text_encoder(clip) else None
    if is_connector(ella) and encoder is not None:
        statement = f"The wired text encoder makes text states of width {encoder.text_dim}"
        checks.append(lambda: check_text_dim(ella, encoder.text_dim, statement))
    for check in checks:
        try:
            check()
        except ELLAError as error:
            lines.append(str(error))
    return lines


def is_text_encoder(clip):
    return isinstance(getattr(clip, "tokenizer", None), ELLATokenizer)


def versions():
    return [
        f"Python {platform.python_version()}, {system()}, {platform.machine()}",
        ", ".join(f"{name} {version_of(name) or 'not installed'}" for name in PACKAGES),
    ]


def system():
    """The operating system: "Windows 11", "Darwin 24.1.0", "Linux", "Linux in WSL"."""
    if platform.system() != "Linux":
        return f"{platform.system()} {platform.release()}"
    return "Linux in WSL" if "microsoft" in platform.release().lower() else "Linux"  # a kernel's name may be anyone's


def version_of(package):
    if package == "torch":
        return torch.__version__  # which says what it was built for, "2.11.0+cu128"
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def device():
    management = comfy.model_management
    chosen = management.get_torch_device()
    dynamic = comfy.model_patcher.CoreModelPatcher is not comfy.model_patcher.ModelPatcher
    return [
        f"{management.get_torch_device_name(chosen)}, memory {management.get_total_memory(chosen) / 2**30:.1f} GiB, "
        f"state {management.vram_state.name}, dynamic VRAM {'on' if dynamic else 'off'}",
        f"ComfyUI's options: {', '.join(options()) or 'none on precision or memory'}",
        f"Text encoders: on {management.text_encoder_device()}, offloaded to "
        f"{management.text_encoder_offload_device()}; ELLA's computes in float16 with the softmax in float32, whatever "
        "the options and the version of transformers",
        f"Connector: on {chosen}, offloaded to {management.unet_offload_device()}; computes in float16 beside a "
        "float16 model, else in float32",
    ]


def options():
    """The options of the host that are set, as "fp16_unet" or "reserve_vram=2.0"."""
    found = []
    for name, value in sorted(vars(args).items()):
        if OPTIONS.search(name) and value:
            if isinstance(value, (set, frozenset)):
                value = "+".join(sorted(getattr(one, "value", str(one)) for one in value))
            found.append(name if value is True else f"{name}={value}")
    return found


def wired(ella, clip, model):
    objects = {"ella": (ella_text, ella), "clip": (clip_text, clip), "model": (model_text, model)}
    return [f"{name}: {''.join(attempt(text, given))}" for name, (text, given) in objects.items()]


def ella_text(ella):
    if ella is None:
        return "nothing"
    if not is_connector(ella):
        return f"an object of another pack ({type(ella).__name__})"
    kind = kind_of_network(ella.model).name
    parts = [connector_name(ella), describe(kind, ella.model.config), *ella.model.facts.described()]
    return ", ".join([*parts, f"on {ella.load_device}"])


def clip_text(clip):
    if clip is None:
        return "nothing"
    if not is_text_encoder(clip):
        return f"another CLIP ({type(clip.cond_stage_model).__name__})"
    encoder = encoder_of(clip)
    place = f"on {clip.patcher.load_device}" if encoder.has_weights else "its weights not read so far"
    return f"ELLA's text encoder, width {encoder.text_dim}, {encoder.model.dtype}, {place}"


def model_text(model):
    if model is None:
        return "nothing"
    base = model.model
    patched = KEY in model.wrappers.get(WrappersMP.SAMPLER_SAMPLE, {})
    return (
        f"{type(base).__name__}, {base.model_type.name}, attends to tokens of width {context_dim_of(model)}, computes "
        f"in {base.get_dtype_inference()} on {model.load_device}, the connector beside it in {compute_dtype(base)}; "
        f"{'with' if patched else 'without'} Apply ELLA"
    )


def model_folders(paths):
    lines = []
    for name in FOLDERS:
        found = folder_paths.get_folder_paths(name)
        there = (f"{paths.names[path]} {'is there' if os.path.isdir(path) else 'is not there'}" for path in found)
        lines.append(f"{name}: {', '.join(there)}")
    if any(map(paths.is_extra, paths.names)):
        lines.append("(extra path) stands for a folder outside models, as extra_model_paths.yaml adds them")
    return lines


def entry_lines(entries):
    own = [f"{entry.name}: {entry.text}" for entry in entries if not entry.foreign]
    foreign = [f"{entry.name} ({entry.text})" for entry in entries if entry.foreign]
    lines = own[:MOST_ENTRIES] + ([f"and {len(own) - MOST_ENTRIES} more"] if len(own) > MOST_ENTRIES else [])
    if foreign:
        lines.append(f"for other models: {first_names(foreign)}")
    return lines or ["none"]


def fits(connectors, encoders):
    found = pairs(connectors, encoders).items()
    return [f"{name}: {first_names(names) or 'none that is here'}" for name, names in found][:MOST_ENTRIES] or ["none"]


def pairs(connectors, encoders):
    """{usable connector: [text encoders whose text states are as wide as it reads]}"""
    return {
        connector.name: [encoder.name for encoder in encoders if encoder.text_dim == connector.text_dim]
        for connector in connectors
        if connector.text_dim
    }


def first_names(names, most=6):
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
