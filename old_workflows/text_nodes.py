"""The old packs' loaders and prompts, each by the node of this pack that does the same."""

from .new_nodes import CLIP_TEXT_ENCODE, LOAD_ELLA, LOAD_ENCODER, T5_TEXT_ENCODE
from .old_nodes import CONNECTOR_LOADER, ENCODER_LOADER, PAIR_LOADER, SIGMA_ENCODE, T5_ENCODE, TEXT_ENCODE
from .old_wires import connector_of, encoder_of
from .prompt_text import remarks
from .quote import quote
from .wires import Output


def convert_text_nodes(graph):
    """Replaces loaders and prompts in place; returns the changes."""
    changes = [line for node in graph.of_kinds((T5_ENCODE, TEXT_ENCODE)) for line in convert_prompt(graph, node)]
    encoders = {node: add_encoder(graph, node) for node in graph.of_kinds((PAIR_LOADER,))}
    for node in graph.of_kinds((SIGMA_ENCODE,)):
        encoder = Output(encoders[connector_of(graph, node).output.node], 0) if "ella" in graph.sources(node) else None
        change = write_prompt(graph, node, encoder, 0)
        changes.append(
            f"{change}; its one sigma for all steps is gone, and this changes the picture, since each step gets its "
            "own tokens"
        )
    changes += [convert_pair_loader(graph, node, encoder) for node, encoder in encoders.items()]
    for node in graph.of_kinds((CONNECTOR_LOADER,)):
        changes.append(replace(graph, node, LOAD_ELLA, {"ella_name": graph.argument(node, "name")}))
    changes += [convert_encoder_loader(graph, node) for node in graph.of_kinds((ENCODER_LOADER,))]
    return changes


def replace(graph, node, kind, arguments):
    before = graph.label(node)
    graph.replace(node, kind, {name: value for name, value in arguments.items() if value is not None})
    return f"{before} became {kind.name}"


def convert_prompt(graph, node):
    changes = []
    encoder = encoder_of(graph, node) if "text_encoder" in graph.sources(node) else None
    clip = graph.sources(node).get("clip")
    if clip is not None:
        text = graph.argument(node, "text_clip") or ""
        clip_prompt = graph.add(CLIP_TEXT_ENCODE, {"clip": clip, "text": text}, node, "below")
        for end in graph.consumers(Output(node, 1)):
            graph.join(Output(clip_prompt, 0), end)
        changes.append(f"{graph.label(clip_prompt)} was added for the CLIP prompt of {graph.label(node)}")
    max_length = graph.argument(encoder.node, "max_length") if encoder else None
    return [*changes, write_prompt(graph, node, encoder, max_length)]


def write_prompt(graph, node, encoder, max_length):
    text = graph.argument(node, "text")
    found = remarks(graph, node, text)
    change = replace(graph, node, T5_TEXT_ENCODE, {"clip": encoder, "text": text, "max_length": max_length})
    if max_length:
        change += ", with the max_length of its loader"
    return "; ".join([change, *found])


def add_encoder(graph, node):
    return graph.add(LOAD_ENCODER, {"text_encoder_name": graph.argument(node, "t5_model")}, node, "below")


def convert_pair_loader(graph, node, encoder):
    name = graph.argument(node, "t5_model")
    change = replace(graph, node, LOAD_ELLA, {"ella_name": graph.argument(node, "ella_model")})
    moved = "its file" if isinstance(name, Output) else quote(name)
    return (
        f"{change} and {graph.label(encoder)}, for which {moved} must move from models/t5_model to models/ella_encoder"
    )


def convert_encoder_loader(graph, node):
    name, dtype = graph.argument(node, "name"), graph.argument(node, "dtype")
    if name == ".":  # the old pack's name for files that lie in the model folder itself
        name = "ella_encoder"
    change = replace(graph, node, LOAD_ENCODER, {"text_encoder_name": name})
    return change + (
        "; it runs in float16, as the connector was trained, and no longer in FP32" if dtype == "FP32" else ""
    )
