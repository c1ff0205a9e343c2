"""The words of an old prompt that the new node reads otherwise, typed into it or brought by a wire."""

import re

from .quote import quote
from .wires import Output

WEIGHT = re.compile(r"(?<!\\)\(")
EMBEDDING = re.compile(r"(?:^|(?<=[\s(,]))embedding:[^\s,)]+")
LORA = re.compile(r"<lora:[^>]*>")


def remarks(graph, node, text):
    """What to say about an argument `text` of a node, each the end of a sentence."""
    if isinstance(text, str):
        return list(remarks_on(text, "it"))
    if not isinstance(text, Output):
        return []
    found = {}
    for source in sources_of(graph, text):
        for words in graph.texts(source):
            found |= dict.fromkeys(remarks_on(words, graph.label(source)))
    if not found and not any(graph.texts(source) for source in sources_of(graph, text)):
        return [f"brackets weigh words in what {graph.label(text.node)} gives it now, which they did not there"]
    return list(found)


def remarks_on(text, place):
    if WEIGHT.search(text):
        yield rf"brackets weigh words in {place} now, which they did not there: write \( and \) for plain ones"
    for pattern, remedy in ((EMBEDDING, "move it to a CLIP prompt"), (LORA, "load it with a LoRA loader")):
        words = pattern.search(text)
        if words:
            yield f"{quote(words.group())} in {place} is nothing that a language model reads: take it out or {remedy}"


def sources_of(graph, output):
    """The nodes that a text comes from, the nearest first."""
    waiting, found = [output.node], {}
    for node in waiting:
        if node not in found:
            found[node] = None
            waiting += [graph.wires.into(end.node)[end].node for end in graph.text_inputs(node)]
    return list(found)
