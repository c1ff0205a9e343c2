"""What a save holds beside the connector files, and how a training takes it up again: safetensors and JSON alone."""

from __future__ import annotations

import json

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ella_core.connectors.connector_file import save_connector

from .errors import TrainingError
from .lora import is_lora, lora_weights, merged
from .run_folder import CONNECTOR, CONNECTOR_EMA

LORA, LORA_EMA = "lora.safetensors", "lora_ema.safetensors"


def write_state(folder, connector, average, optimizer, scaler, step, data_states, facts):
    """Writes a save into an empty folder: connector files, LoRA, optimizer, positions of the data.

    `average` is the AveragedModel or None, `data_states` the data's `state_dict` of each process, `facts` go into the
    connector files.
    """
    write_connector(connector, folder, CONNECTOR, LORA, facts)
    if average is not None:
        write_connector(average.module, folder, CONNECTOR_EMA, LORA_EMA, facts | {"average_of_weights": True})
    tensors, numbers = flatten_optimizer(optimizer.state_dict()["state"])
    save_file(tensors, folder / "optimizer.safetensors")
    positions, data_tensors = [], {}
    for rank, state in enumerate(data_states):
        positions.append(
            {
                key: {"tensor": f"{rank}.{key}"} if isinstance(value, torch.Tensor) else value
                for key, value in state.items()
            }
        )
        data_tensors |= {f"{rank}.{key}": value for key, value in state.items() if isinstance(value, torch.Tensor)}
    if data_tensors:
        save_file(data_tensors, folder / "data.safetensors")
    state = {"step": step, "optimizer": numbers, "data": positions}
    if average is not None:
        state["averaged"] = int(average.n_averaged)
    if scaler is not None:
        state["scaler"] = scaler.state_dict()
    (folder / "state.json").write_text(json.dumps(state, indent=2), encoding="utf-8")


def read_state(folder, connector, average, optimizer, scaler, rank, world_size):
    """Takes a save up into connector, average, optimizer and scaler; returns (step, the data's state of this process).

    Raises TrainingError where the save is damaged, or of another number of processes whose positions differ.
    """
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        read_weights(connector, folder, CONNECTOR, LORA)
        if average is not None:
            read_weights(average.module, folder, CONNECTOR_EMA, LORA_EMA)
            average.n_averaged.fill_(state["averaged"])
        moments = unflatten_optimizer(load_file(folder / "optimizer.safetensors"), state["optimizer"])
        tensors = load_file(folder / "data.safetensors") if (folder / "data.safetensors").exists() else {}
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise TrainingError(
            f"{folder} is damaged ({type(error).__name__}); remove it, and the run goes on from the save before it."
        ) from None
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    if scaler is not None and "scaler" in state:
        scaler.load_state_dict(state["scaler"])
    positions = state["data"]
    if len(positions) != world_size:
        if any(one != positions[0] for one in positions):
            raise TrainingError(
                f"{folder} was saved by {len(positions)} processes, whose places in the data differ, and {world_size} "
                f"run now; start {len(positions)} to go on."
            )
        positions = positions[:1] * world_size
    position = {
        key: tensors[value["tensor"]] if isinstance(value, dict) and set(value) == {"tensor"} else value
        for key, value in positions[rank].items()
    }
    return state["step"], position


def write_connector(connector, folder, name, lora_name, facts):
    """Writes a connector file, of a connector with LoRA the merged one, and then the LoRA's weights beside it."""
    if is_lora(connector):
        save_file(lora_weights(connector), folder / lora_name)
        connector = merged(connector)
    save_connector(connector, folder / name, **facts)


def read_weights(connector, folder, name, lora_name):
    if is_lora(connector):
        weights, found = lora_weights(connector), load_file(folder / lora_name)
    else:
        weights, found = dict(connector.named_parameters()), load_file(folder / name)
    if weights.keys() != found.keys():
        raise KeyError(name)
    with torch.no_grad():
        for key, weight in weights.items():
            weight.copy_(found[key])


def flatten_optimizer(state):
    """({"3.exp_avg": tensor}, {"3": {"name": number}}) of an optimizer's state by number of the parameter."""
    tensors, numbers = {}, {}
    for index, values in state.items():
        for key, value in values.items():
            if isinstance(value, torch.Tensor):
                tensors[f"{index}.{key}"] = value.contiguous()
            else:
                numbers.setdefault(str(index), {})[key] = value
    return tensors, numbers


def unflatten_optimizer(tensors, numbers):
    state = {int(index): dict(values) for index, values in numbers.items()}
    for name, tensor in tensors.items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = tensor
    return state
