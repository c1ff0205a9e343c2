"""The attention map of a prompt, read by the host's CLIP and a loaded connector."""

import comfy.model_management
import comfy.utils
import torch

from ..attention.attention_map import attention_map, attention_to_keys, map_timesteps
from ..attention.attention_plot import plot_attention
from ..attention.index_list import read_index_list, write_index_list
from ..errors import ELLAError
from .clip import prompt_pieces
from .connector_model import check_connector, check_text_dim, connector_name


def map_attention(clip, ella, text, max_length, steps, blocks, heads):
    """Prompt -> (picture (1, height, 1024, 3), CSV) of the connector's attention to its words.

    `steps` is the number of timesteps, `blocks` and `heads` are choices as `read_index_list` reads them. Raises
    ELLAError for an empty prompt, for a connector without attention or a choice that it doesn't have, and where the
    models don't fit.
    """
    check_connector(ella, "ELLA Attention Map")
    connector = ella.model
    config, name = connector.config, connector_name(ella)
    if not connector.attentions():
        raise ELLAError(
            f"{name} has no attention, since it makes each of its tokens from one token of the prompt alone, so there "
            "is nothing to map; use a connector of another kind."
        )
    chosen_blocks = read_index_list(blocks, config.depth, "blocks")
    chosen_heads = read_index_list(heads, config.num_heads, "heads")
    pieces, *more = prompt_pieces(clip, text, max_length, "ELLA Attention Map")
    if more:
        raise ELLAError(
            f"The prompt of ELLA Attention Map has {len(more) + 1} parts with BREAK between them, and one part is "
            "mapped at a time; take BREAK out, or map each part on its own."
        )
    states = clip.encode_from_tokens(clip.tokenize(text, max_length=max_length))  # (1, T, text_dim)
    check_text_dim(ella, states.shape[-1], f"ELLA Attention Map got text states of width {states.shape[-1]}")
    comfy.model_management.load_models_gpu([ella])
    states = states.to(ella.load_device, torch.float32)
    timesteps = map_timesteps(steps)
    progress = comfy.utils.ProgressBar(steps)
    rows = []
    for timestep in timesteps:
        comfy.model_management.throw_exception_if_processing_interrupted()
        rows.append(attention_to_keys(connector, states, timestep, chosen_blocks, chosen_heads))
        progress.update(1)
    found = attention_map(pieces, timesteps, torch.stack(rows).cpu())
    if not found.names:
        raise ELLAError("The prompt of ELLA Attention Map has no words, so there is nothing to map; write some.")
    averaged = (
        f"{name}, mean over {config.num_queries} queries, blocks {write_index_list(chosen_blocks)} of {config.depth}, "
        f"heads {write_index_list(chosen_heads)} of {config.num_heads}"
    )
    lines = [
        "What ELLA reads: attention to each word at each timestep",
        averaged,
        "Each word divided by its own maximum; added tokens and padding are left out.",
    ]
    return plot_attention(found.relative(), timesteps, [word.text for word in found.names], lines), found.csv()
