"""The connector as a model of the host's: cast, moved, offloaded and freed by ComfyUI."""

import logging

import comfy.model_management
import comfy.model_patcher
import comfy.ops
import torch

from ..connectors.connector import Connector
from ..connectors.connector_file import load_connector
from ..errors import ELLAError, file_name, quoted
from ..released import LANGUAGE_MODEL, TEXT_DIM


def load_connector_model(path, disable_dynamic=False):
    """ModelPatcher of the connector in the safetensors file at `path`; its `model` computes in its input's dtype.

    Raises ELLAError as `load_connector` does.
    """
    connector = load_connector(path, operations=comfy.ops.manual_cast)
    comfy.model_management.archive_model_dtypes(connector)
    # The host rebinds CoreModelPatcher when it starts, so it is looked up at each call.
    patcher_class = comfy.model_patcher.ModelPatcher if disable_dynamic else comfy.model_patcher.CoreModelPatcher
    patcher = patcher_class(
        connector,
        load_device=comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )
    patcher.cached_patcher_init = (load_connector_model, (path,))
    patcher.set_attachments("ella_name", file_name(path))
    return patcher


def connector_name(patcher):
    """File name of a loaded connector, quoted, for messages."""
    return patcher.attachments["ella_name"]


def is_connector(ella):
    """Whether a value of type ELLA is this pack's: another pack may give its wires that name too."""
    return isinstance(getattr(ella, "model", None), Connector)


def check_connector(ella, node):
    """Raises ELLAError for a value of type ELLA that is not this pack's; `node` is the name of the node that got it."""
    if not is_connector(ella):
        raise ELLAError(
            f"{node} got an object of another pack ({type(ella).__name__}) at its input ella, where a connector is "
            "expected; wire it from Load ELLA."
        )


def check_text_dim(ella, found, statement):
    """Raises ELLAError unless text states of width `found` fit a connector; `statement` says so and whose they are."""
    text_dim = ella.model.config.text_dim
    if found != text_dim:
        raise ELLAError(
            f"{statement}, and {connector_name(ella)} reads text states of width {text_dim}; load the "
            f"language model it was trained with ({LANGUAGE_MODEL} has {TEXT_DIM}) with Load ELLA Text Encoder."
        )


def check_language_model(ella, facts, input_name):
    """Raises ELLAError for text states of another language model than the connector was trained with.

    `facts` are their TextEncoderFacts, None where they are not known. What may change the picture is said in the log.
    """
    trained, name = ella.model.facts.text_encoder, connector_name(ella)
    if facts is None:
        return
    if trained is None and facts.architecture != "t5":
        logging.warning(
            f"{name} does not say which language model it was trained with, and {input_name} of Apply ELLA was read by "
            f"a {facts.architecture} model; if that is another one, the picture won't follow the prompt."
        )
    if trained is None:
        return
    if (facts.architecture, facts.layer) != (trained.architecture, trained.layer):
        raise ELLAError(
            f"{input_name} of Apply ELLA was read by a {quoted(facts.architecture)} model, and {name} was trained with "
            f"{quoted(trained.name or trained.architecture)} (a {quoted(trained.architecture)} model, layer "
            f"{trained.layer}); load that language model with Load ELLA Text Encoder."
        )
    if facts.dtype != trained.dtype:
        logging.warning(
            f"{input_name} of Apply ELLA was read in {facts.dtype}, and {name} was trained with {trained.dtype} text "
            f"states, so the picture differs; set precision of Load ELLA Text Encoder to {trained.dtype}."
        )


def compute_dtype(model):
    """What the connector computes in beside a BaseModel: float16 for a float16 UNet as in the paper's code, or float32.

    bfloat16 keeps three digits, too few for the connector, and costs nothing to avoid at its size.
    """
    return torch.float16 if model.get_dtype_inference() == torch.float16 else torch.float32
