"""How much the connector's learned queries attend to each word at each timestep (arXiv 2403.05135, figure 8)."""

from __future__ import annotations

import csv
import io
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from ..prompts.prompt_words import Word, words_of

REST = ("[added tokens]", "[padding]", "[queries]")  # columns of the CSV after the words


def attention_weights(attention, queries, keys):
    """Weights of a ConnectorAttention: queries (B, Q, W), keys (B, K, W) -> (B, heads, Q, K), sum 1 over the keys."""
    width = queries.shape[-1]
    weight = attention.in_proj_weight.to(queries)
    bias = attention.in_proj_bias.to(queries)
    q = attention.heads(F.linear(queries, weight[:width], bias[:width]))  # (B, heads, Q, W / heads)
    k = attention.heads(F.linear(keys, weight[width : 2 * width], bias[width : 2 * width]))
    scores = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5
    return scores.softmax(dim=-1, dtype=torch.promote_types(scores.dtype, torch.float32))


@contextmanager
def recorded_attention(connector, blocks, heads):
    """A list that gets, from each chosen block that runs inside, the mean over heads and queries (B, Q + T)."""
    recorded = []

    def record(attention, inputs):
        recorded.append(attention_weights(attention, *inputs)[:, heads].mean(dim=(1, 2)))

    attentions = connector.attentions()
    hooks = [attentions[block].register_forward_pre_hook(record) for block in blocks]
    try:
        yield recorded
    finally:
        for hook in hooks:
            hook.remove()


@torch.inference_mode()
def attention_to_keys(connector, text_states, timestep, blocks, heads):
    """Text states (1, T, text_dim) at one timestep of 0..999 -> mean weight of each key (Q + T,), which sum to 1.

    The keys are the connector's own queries and then the text. The mean is over all queries and over the `blocks` and
    `heads`, lists of indices from 0. One timestep at a time, so that a map takes no more memory than an evaluation.
    """
    with recorded_attention(connector, blocks, heads) as recorded:
        connector(text_states, torch.tensor([timestep], device=text_states.device))
    return torch.cat(recorded).mean(dim=0)  # (Q + T,)


def map_timesteps(steps):
    """Timesteps of a map's rows, evenly from noise (999) to picture (0)."""
    return torch.linspace(999, 0, steps).round().long().tolist()


@dataclass(frozen=True)
class AttentionMap:
    """The attention to each word: `words` (S, number of words), one row for each of the timesteps.

    `rest` (S, 3) is the attention to what the tokenizer added, to padding and to the queries themselves, so that a row
    of both sums to 1.
    """

    names: list[Word]
    timesteps: list[int]
    words: torch.Tensor
    rest: torch.Tensor

    def relative(self):
        """Each word divided by its own maximum over the timesteps, as in the paper's figure (S, number of words)."""
        return self.words / self.words.amax(dim=0).clamp_min(torch.finfo(self.words.dtype).tiny)

    def csv(self):
        """The attention itself, not divided by anything: a line for each timestep, a column for each word, the rest."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["timestep", *(word.text for word in self.names), *REST])
        for timestep, words, rest in zip(self.timesteps, self.words.tolist(), self.rest.tolist()):
            writer.writerow([timestep, *(f"{value:.6g}" for value in words + rest)])
        return text.getvalue()


def attention_map(pieces, timesteps, keys):
    """Pieces of a prompt and the attention to the keys (S, Q + T) at S timesteps -> AttentionMap.

    A word's attention is the sum of its pieces'.
    """
    queries, text = keys.split([keys.shape[1] - len(pieces), len(pieces)], dim=1)
    names = words_of(pieces)
    added = torch.tensor([piece.is_start or piece.is_end for piece in pieces])
    padding = torch.tensor([piece.is_padding for piece in pieces])
    words = [text[:, word.start : word.stop].sum(dim=1) for word in names]
    rest = [text[:, added].sum(dim=1), text[:, padding].sum(dim=1), queries.sum(dim=1)]
    columns = torch.stack(words + rest, dim=1)  # (S, number of words + 3)
    return AttentionMap(names, timesteps, columns[:, : len(names)], columns[:, len(names) :])
