"""A LoRA on a connector's linear layers, by peft (arXiv 2106.09685)."""

from __future__ import annotations

import copy

import torch
from torch import nn

from .errors import TrainingError

NAME = "ella"


def add_lora(connector, rank, seed=0):
    """Puts a LoRA of that rank on every linear layer of a connector, in place; all other weights are frozen.

    It begins at zero. Raises TrainingError where peft is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise TrainingError("--lora-rank needs peft, which is not installed; run `pip install .[training]`.") from None
    linears = [name for name, module in connector.named_modules() if isinstance(module, nn.Linear)]
    connector.requires_grad_(True)
    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=linears)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        inject_adapter_in_model(config, connector, adapter_name=NAME)
    for name, weight in connector.named_parameters():
        weight.requires_grad_(is_lora_weight(name))
    return connector


def is_lora(connector):
    return any(is_lora_weight(name) for name, _ in connector.named_parameters())


def is_lora_weight(name):
    return ".lora_A." in name or ".lora_B." in name


def lora_weights(connector):
    """{name: parameter} of the LoRA alone."""
    return {name: weight for name, weight in connector.named_parameters() if is_lora_weight(name)}


def merged(connector):
    """A plain connector in which the LoRA is added to the weights that it was trained on."""
    connector = copy.deepcopy(connector)
    for name, module in list(connector.named_modules()):
        if hasattr(module, "base_layer") and hasattr(module, "merge"):
            module.merge()
            parent, _, own = name.rpartition(".")
            setattr(connector.get_submodule(parent), own, module.base_layer)
    return connector
