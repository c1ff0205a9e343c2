"""What a command names is loaded, and the training begins or goes on."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from accelerate import Accelerator

from ella_core.connectors.connector_file import load_connector
from ella_core.connectors.kinds import NAMES, kind_named, new_connector
from ella_core.errors import quoted

from .cache_folder import SETTINGS, CacheFolder
from .command import to_keep
from .errors import TrainingError
from .host_base import HostBase, fingerprint
from .loop import train
from .options import check_options, check_resumed
from .run_folder import CONNECTOR, CONNECTOR_EMA, RUN, START, RunFolder
from .validation import Validation


def start(command):
    """Trains as the Command asks; returns the RunFolder. Raises TrainingError, see there."""
    options = command.options
    # Before any of it is loaded: what can't be trained is told at once.
    accelerator = Accelerator(mixed_precision=options.mixed_precision)
    check_options(options, accelerator.num_processes)
    if (command.out / RUN).exists():
        check_resumed(RunFolder(command.out).options, options, command.out)
    grids = bool(options.sample_every and command.prompts)
    base = HostBase(
        command.checkpoint, options.mixed_precision, options.gradient_checkpointing, accelerator.device, with_vae=grids
    )
    data = open_data(command, command.data, accelerator)
    connector = open_connector(command, base, data)
    validate = None
    if command.validation_data is not None and accelerator.is_main_process:
        encoding = getattr(data, "encoding", None)  # one language model is enough
        held_out = open_data(command, command.validation_data, accelerator, encoding)
        micro = options.micro_batch_size or options.batch_size
        validate = Validation(base, held_out, options.validation_size, micro, options.seed)
    sample = open_grid(command, base, data, accelerator) if grids and accelerator.is_main_process else None
    run = train(
        options,
        base,
        connector,
        data,
        command.out,
        validate=validate,
        sample=sample,
        facts={"checkpoint": fingerprint(command.checkpoint)},
        command=to_keep(command),
        accelerator=accelerator,
    )
    if accelerator.is_main_process:
        name = CONNECTOR_EMA if options.ema_decay else CONNECTOR
        print(f"training: step {options.steps} is done; {run.path / name} is for Load ELLA.")
    return run


def open_data(command, data, accelerator, encoding=None):
    """The DataSource of a cache, or one that encodes pictures and captions when their turn comes.

    `encoding` is an Encoding that is there already.
    """
    options = command.options
    if (Path(data) / SETTINGS).is_file():
        from .cached_inputs import CachedInputs
        from .host_vae import vae_facts

        settings = CacheFolder(data).settings
        made = {"max_length": settings["text_encoder"]["max_length"] or 0, "resolution": settings["resolution"]}
        for name, value in made.items():
            if value != getattr(options, name):
                raise TrainingError(
                    f"The cache {quoted(data)} was made with --{name.replace('_', '-')} {value}, and the training asks "
                    f"for {getattr(options, name)}; give --{name.replace('_', '-')} {value}, or another cache."
                )
        source = CachedInputs(data, options.seed, command.workers)
        source.check(vae=vae_facts(command.checkpoint))
        return source
    from .buckets import make_buckets
    from .encoded_inputs import EncodedInputs
    from .pictures import open_pictures, skipped_sentence

    pictures, skipped = open_pictures(data)
    if skipped and accelerator.is_main_process:
        print(f"training: skipped {skipped_sentence(skipped)}.", file=sys.stderr)
    encoding = encoding or open_encoding(command, accelerator)
    return EncodedInputs(pictures, make_buckets(options.resolution), encoding, options.seed, command.workers)


def open_encoding(command, accelerator, dtype=None):
    """The language model and the VAE of a command; `dtype` None is its own. TrainingError where none is named."""
    from .encoding import Encoding

    if command.text_encoder is None:
        raise TrainingError(
            "Prompts are to be read and no --text-encoder is given; give the folder or file of the language model."
        )
    return Encoding(
        command.checkpoint,
        command.text_encoder,
        command.options.max_length,
        command.tokenizer,
        dtype,
        accelerator.device,
    )


def open_connector(command, base, data):
    """The connector to train: that of the run that goes on, that of a file, or a new one that fits base and data."""
    options, given = command.options, command.connector
    if (command.out / RUN).exists():
        kept = RunFolder(command.out).path / (START if options.lora_rank else CONNECTOR)
        if kept.exists():
            return load_connector(kept)
    row = kind_named(given)
    if row is None:
        if not Path(given).exists():
            raise TrainingError(
                f"--connector is {quoted(given)}, which is neither a file nor a kind; give the path of a connector "
                f"file, or one of {NAMES} for new weights."
            )
        return load_connector(given)
    if options.lora_rank:
        raise TrainingError("--lora-rank is for a trained connector; give its file as --connector.")
    sizes = {"width": base.context_width, "text_dim": data.empty_states.shape[-1]}
    if row.has("time_dim"):
        sizes["time_dim"] = base.context_width
    if row.has("pooled_dim") and base.pooled_dim:
        sizes["pooled_dim"] = base.pooled_dim
    torch.manual_seed(options.seed)
    return new_connector(given, **sizes)


def open_grid(command, base, data, accelerator):
    """What draws the command's prompts; the language model leaves the memory again."""
    from .host_samples import Grid

    encoding = getattr(data, "encoding", None)
    if encoding is None:
        encoding = open_encoding(command, accelerator, getattr(torch, data.facts["dtype"]))
        data.check_encoding(encoding)
    states = [encoding.text_states(prompt) for prompt in command.prompts]
    return Grid(
        base, states, encoding.text_states(""), data.facts, command.options.resolution, seed=command.options.seed
    )
