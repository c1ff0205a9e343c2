"""Which inputs of a workflow take the prompt, the seed and the number of pictures, and which node saves the picture.

Found by following the wires back from the node that saves to the samplers, and from these to texts, seeds and latents.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

from .errors import EvaluationError
from .workflow import is_link

PREVIEW = "PreviewImage"
SEEDS = ("seed", "noise_seed")
BATCH = "batch_size"


@dataclass(frozen=True)
class Roles:
    """The inputs [node id, name] that take prompt, seed and number of pictures, and the id of the node that saves."""

    prompt: list[list[str]]
    seed: list[list[str]]
    batch: list[list[str]]
    save: str


def find_roles(workflow, prompt_nodes=(), seed_nodes=(), save_node=None):
    """The Roles of a Workflow. The three overrule what is found: node ids, or "id.input" for one input of a node.

    Raises EvaluationError with the candidates where what is asked for isn't there or isn't clear.
    """
    save = _saving_node(workflow, save_node)
    samplers = [node for node in workflow.before(save) if _is_sampler(workflow, node)]
    if prompt_nodes:
        prompt = [place for name in prompt_nodes for place in _chosen(workflow, name, "--prompt-node", text_inputs)]
    else:
        prompt = _prompt(workflow, samplers)
    if seed_nodes:
        seed = [place for name in seed_nodes for place in _chosen(workflow, name, "--seed-node", seed_inputs)]
    else:
        seed = _seeds(workflow, samplers)
    batch = _batches(workflow, samplers)
    return Roles(*([list(place) for place in places] for places in (prompt, seed, batch)), save)


def fill(graph, roles, text, seed, count):
    """A copy of a graph with a prompt, a seed and a number of pictures in their places."""
    graph = copy.deepcopy(graph)
    for places, value in ((roles.prompt, text), (roles.seed, seed), (roles.batch, count)):
        for node, name in places:
            graph[node]["inputs"][name] = value
    return graph


def text_inputs(workflow, node):
    """The inputs of a node that take a text: all its multi-line ones, else its only one."""
    names = workflow.inputs_of(node, "STRING")
    long = [name for name in names if workflow.input_option(node, name, "multiline")]
    return long or (names if len(names) == 1 else [])


def seed_inputs(workflow, node):
    """The inputs of a node that take a seed."""
    names = workflow.inputs_of(node, "INT")
    return [n for n in names if n in SEEDS or workflow.input_option(node, n, "control_after_generate")]


# ---- the node that saves


def _saving_node(workflow, chosen):
    there = [
        node for node in workflow.graph if workflow.info(node).get("output_node") and workflow.links_of(node, "IMAGE")
    ]
    saving = [node for node in there if workflow.graph[node]["class_type"] != PREVIEW] or there
    if chosen is not None:
        if chosen not in there:
            raise EvaluationError(f"--save-node {chosen} saves no picture; {_candidates(workflow, there)}")
        return chosen
    if len(saving) != 1:
        found = "saves no picture" if not saving else f"saves {len(saving)} pictures"
        hint = "add a Save Image" if not saving else "say with --save-node which one counts"
        raise EvaluationError(f"the workflow {found}; {hint}: {_candidates(workflow, saving)}")
    return saving[0]


def _is_sampler(workflow, node):
    if "LATENT" not in workflow.info(node)["output"]:
        return False
    return "positive" in workflow.links_of(node, "CONDITIONING") or bool(workflow.links_of(node, "GUIDER"))


# ---- the prompt


def _prompt(workflow, samplers):
    texts = []
    for sampler in samplers:
        link = workflow.links_of(sampler, "CONDITIONING").get("positive")
        for start in [link] if link else workflow.links_of(sampler, "GUIDER").values():
            texts += _texts(workflow, start)
    texts = list(dict.fromkeys(texts))
    if len(texts) != 1:
        nodes = list(dict.fromkeys(node for places in texts for node, _ in places))
        nodes = nodes or [node for node in workflow.graph if text_inputs(workflow, node)]
        found = "it is not clear which text of the workflow is the prompt" if texts else "the workflow has no prompt"
        hint = "say with --prompt-node (node, or node.input)"
        raise EvaluationError(f"{found} that a sampler reads; {hint}: {_candidates(workflow, nodes, text_inputs)}")
    return texts[0]


def _texts(workflow, link):
    """The texts that a conditioning or guider comes from, each a tuple of the places (node, input) that hold it."""
    onward = _conditioning_inputs(workflow, link)
    if onward:
        return [text for one in onward for text in _texts(workflow, one)]
    sources = [_written(workflow, link[0], name) for name in text_inputs(workflow, link[0])]
    if all(len(places) == 1 for places in sources):  # a node with several texts, as for SDXL, takes the prompt in all
        return [tuple(dict.fromkeys(place for places in sources for place in places))] if sources else []
    return [(place,) for places in sources for place in places]


def _conditioning_inputs(workflow, link):
    """The links that a node makes this output of: those of the output's own name, else all but negative ones."""
    inputs = workflow.links_of(link[0], "CONDITIONING")
    for wanted in (workflow.output(link)[1].lower(), "positive"):
        if wanted in inputs:
            return [inputs[wanted]]
    return [one for name, one in inputs.items() if "negative" not in name]


def _written(workflow, node, name):
    """The places where the text of an input is written: several where texts are joined on the way to it."""
    value = workflow.inputs(node)[name]
    names = text_inputs(workflow, value[0]) if is_link(value, workflow.graph) else []
    if not names:
        return [(node, name)]  # what a node makes up without a text gives way to the prompt
    return [place for one in names for place in _written(workflow, value[0], one)]


# ---- seeds and batches


def _seeds(workflow, samplers):
    places = []
    for sampler in samplers:
        here = [(sampler, name) for name in seed_inputs(workflow, sampler)]
        for noise in workflow.links_of(sampler, "NOISE").values():
            here += [(noise[0], name) for name in seed_inputs(workflow, noise[0])]
        places += [_number_source(workflow, *place) for place in here]
    if not places:
        every = [node for node in workflow.graph if seed_inputs(workflow, node)]
        raise EvaluationError(
            "no seed was found in the workflow, so all pictures of a prompt would be the same; say with --seed-node: "
            + _candidates(workflow, every, seed_inputs)
        )
    return list(dict.fromkeys(places))


def _batches(workflow, samplers):
    places = []
    for sampler in samplers:
        for link in workflow.links_of(sampler, "LATENT").values():
            for node in workflow.before(link[0]):
                if BATCH in workflow.inputs(node) and "LATENT" in workflow.info(node)["output"]:
                    places.append(_number_source(workflow, node, BATCH))
    return list(dict.fromkeys(places))


def _number_source(workflow, node, name):
    """Where the number of an input is written: the input itself, or that of a node of its own which it is wired to."""
    value = workflow.inputs(node)[name]
    if is_link(value, workflow.graph):
        names = workflow.inputs_of(value[0], "INT")
        if len(names) == 1:
            return _number_source(workflow, value[0], names[0])
    return node, name


# ---- what the user chose


def _chosen(workflow, name, option, inputs_of):
    node, _, wanted = name.partition(".")
    candidates = [one for one in workflow.graph if inputs_of(workflow, one)]
    if node not in workflow.graph or (wanted and wanted not in workflow.inputs(node)):
        raise EvaluationError(f"{option} {name} is not in the workflow; {_candidates(workflow, candidates, inputs_of)}")
    names = [wanted] if wanted else inputs_of(workflow, node)
    if not names:
        raise EvaluationError(f"{option} {name} takes none; {_candidates(workflow, candidates, inputs_of)}")
    return [(node, one) for one in names]


def _candidates(workflow, nodes, inputs_of=None):
    """The nodes that come into question, with what is in their inputs."""
    texts = []
    for node in nodes:
        values = [str(workflow.inputs(node)[name])[:40] for name in (inputs_of(workflow, node) if inputs_of else ())]
        texts.append(" ".join([workflow.title(node), *(repr(value) for value in values)]))
    return f"the candidates are {', '.join(texts)}." if texts else "there is no candidate."
