"""The pooled vector of a prompt that SDXL wants beside the tokens: the first numbers of its y, before size and crop."""

import logging

import comfy.model_base
import comfy.model_management
import torch

from ..errors import ELLAError
from .connector_model import connector_name
from .following_tensor import FollowingTensor
from .recipe import PooledSource

POOLED_DIM = 1280  # of SDXL and all of its shapes


def wants_pooled(model):
    """Whether a MODEL is SDXL or made from it; its refiner is not."""
    return isinstance(model.model, comfy.model_base.SDXL)


def check_pool(model, ella):
    """Raises ELLAError for an SDXL model and a connector whose pooled vector is not as wide as SDXL's."""
    pooled_dim = getattr(ella.model.config, "pooled_dim", 0)
    if wants_pooled(model) and pooled_dim not in (0, POOLED_DIM):
        raise ELLAError(
            f"{connector_name(ella)} makes a pooled vector of {pooled_dim} numbers, and SDXL reads one of "
            f"{POOLED_DIM}; use a connector that was trained for SDXL."
        )


def pooled_output(model, ella, source, tokens, clip_options, input_name):
    """The pooled_output of an entry that Apply ELLA makes of a TokenSource, whose `tokens` (N, Q, W) are the middle's.

    For SDXL it is (N, 1280): the connector's own, which follows the timestep as the tokens do, else that of the CLIP
    conditioning, whose options are given, else zeros with a warning.
    """
    if not wants_pooled(model):
        return clip_options["pooled_output"] if "pooled_output" in clip_options else torch.zeros(tokens[:, 0].shape)
    if ella.model.pool is not None:
        pooled = ella.model.pooled(tokens.to(ella.load_device)).to(tokens)
        source.pooled = PooledSource(source.text_states, source.connector_key, pooled)
        return FollowingTensor(pooled.clone(), source.pooled)
    pooled = clip_options.get("pooled_output")
    if pooled is None:
        logging.warning(
            f"ELLA: {connector_name(ella)} makes no pooled vector, which SDXL wants beside the tokens, so its "
            f"{input_name} gets zeros; wire a CLIPTextEncodeSDXL to clip_{input_name} of Apply ELLA."
        )
        return torch.zeros(len(tokens), POOLED_DIM)
    return pooled


def settle_pooled(conds, source):
    """model_conds whose y follows the timestep, where a node made a plain tensor of a PooledSource's values."""
    y = conds.get("y")
    if source is None or y is None or isinstance(y.cond, FollowingTensor):
        return conds
    pooled = source.tokens.to(y.cond)
    found = y.cond[:, : pooled.shape[1]]
    rows = [next((row for row, own in enumerate(pooled) if torch.equal(own, one)), None) for one in found]
    if None in rows:
        return conds  # another node's, which stays
    following = FollowingTensor(source.tokens.clone(), source)[rows].to(y.cond)
    return conds | {"y": y._copy_with(torch.cat([following, y.cond[:, pooled.shape[1] :]], dim=1))}
