"""Which samplers the conditionings reach, past ControlNets, areas and whatever else lies between."""

from collections import deque

from .errors import WorkflowError
from .graph import REROUTES
from .old_nodes import BLENDS, OLD_NODES

POSITIVE, NEGATIVE = "positive", "negative"


class Reach:
    """What lies behind the prompts of a graph, each wire followed once.

    `ranks` are those of `order_of`. Raises WorkflowError where a conditioning ends before a sampler, or goes into a
    node that can't take ELLA's.
    """

    def __init__(self, graph, ranks, prompts):
        self.graph = graph
        self.samplers = {}  # node -> None, in the order in which they were found
        self.ends = {}  # node that a conditioning reaches -> the Inputs behind it
        self.parents = {}
        self.first = {}  # node -> the prompt from which it was found
        for prompt in prompts:
            self.follow(prompt)
        self.find_sides(ranks)
        self.refuse_dead_ends(prompts)

    def follow(self, prompt):
        start = self.graph.consumers(prompt.source)
        waiting = deque((prompt.source.node, end) for end in start)
        while waiting:
            node, end = waiting.popleft()
            self.refuse_blends(prompt, end)
            if node != prompt.source.node:
                self.unite(node, end.node)
            self.unite(start[0].node, end.node)
            if end.node in self.ends:
                continue
            self.first[end.node] = prompt
            self.ends[end.node] = self.behind(end.node)
            waiting.extend((end.node, further) for further in self.ends[end.node])

    def behind(self, node):
        """The Inputs that a conditioning goes on to; none behind a sampler, which is remembered."""
        if self.graph.model_inputs(node):
            self.samplers[node] = None
            return []
        return [end for output in self.graph.conditioning_outputs(node) for end in self.graph.consumers(output)]

    def refuse_blends(self, prompt, end):
        if self.graph.kind(end.node) in OLD_NODES or self.graph.kind(end.node) in BLENDS:
            raise WorkflowError(
                f"The conditioning of {self.graph.label(prompt.source.node)} goes into {self.graph.label(end.node)}, "
                "which can't be done with ELLA's tokens here because they change at every step; take that node out and "
                "convert again."
            )

    def unite(self, one, other):
        self.parents[self.root(one)] = self.root(other)

    def root(self, node):
        """The node that stands for all that share a sampler with this one."""
        path = [node]
        while self.parents.setdefault(path[-1], path[-1]) != path[-1]:
            path.append(self.parents[path[-1]])
        self.parents.update(dict.fromkeys(path, path[-1]))
        return path[-1]

    def find_sides(self, ranks):
        """The sides on which samplers read what enters a node, by the first input on the way that names one."""
        self.sides = {}
        for node in sorted(self.ends, key=ranks.__getitem__, reverse=True):
            self.sides[node] = {side for end in self.ends[node] for side in self.sides_of(end)}

    def sides_of(self, end):
        sampler = end.node in self.samplers
        if sampler or self.sides[end.node]:
            if "neg" in end.name:
                return {NEGATIVE}
            if sampler or "pos" in end.name:
                return {POSITIVE}
        return self.sides[end.node]

    def refuse_dead_ends(self, prompts):
        for prompt in prompts:
            ends = self.graph.consumers(prompt.source)
            if not any(self.sides_of(end) for end in ends):
                self.refuse_dead_end(prompt.source.node, "")
            self.refuse_dead_among(ends, prompt)
        for node, ends in self.ends.items():
            self.refuse_dead_among([end for end in ends if self.graph.takes_conditioning(end)], self.first[node])

    def refuse_dead_among(self, ends, prompt):
        for end in ends:
            if not self.sides_of(end) and self.graph.kind(end.node) not in REROUTES:
                origin = f", to which the conditioning of {self.graph.label(prompt.source.node)} goes"
                self.refuse_dead_end(end.node, origin)

    def refuse_dead_end(self, node, origin):
        raise WorkflowError(
            f"No sampler was found behind {self.graph.label(node)}{origin}, and Apply ELLA needs the sampler's MODEL; "
            "wire it to a sampler, with no Set and Get nodes and no subgraph between, or take that wire out, and "
            "convert again."
        )

    def is_negative(self, prompt):
        """Whether all samplers read a prompt as their negative."""
        ends = self.graph.consumers(prompt.source)
        return {side for end in ends for side in self.sides_of(end)} == {NEGATIVE}
