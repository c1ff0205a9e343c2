"""Places for added nodes in the editor: each beside a node that is there, and what is in their way moves once."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from itertools import accumulate

GAP = 60
SIZE = (300, 200)


def xy(pair, default=(0, 0)):
    """[x, y] of a place or a size, which older editors saved as {"0": x, "1": y}; the default where there is none."""
    values = (
        [pair.get("0"), pair.get("1")] if isinstance(pair, dict) else list(pair if isinstance(pair, list) else ())[:2]
    )
    values += [None] * (2 - len(values))
    return [value if isinstance(value, (int, float)) else other for value, other in zip(values, default)]


@dataclass
class Block:
    """A node of the file with those that were added to it; `offsets` are theirs from its place."""

    place: list
    room: list
    size: list
    offsets: dict = field(default_factory=dict)
    covered: bool = False


class Layout:
    """Blocks grow to the right and downwards; `settle` widens the canvas there, so that nothing comes to overlap."""

    def __init__(self, nodes):
        self.nodes = nodes
        self.blocks = {}
        self.roots = {}

    def put(self, number, size, near, side):
        """Gives node `number` a place over, right of or below the node `near`; a place over it is given once."""
        root = self.roots.get(near, near)
        if root not in self.blocks:
            fields = self.nodes[root]
            room = xy(fields.get("size"), SIZE)
            self.blocks[root] = Block(xy(fields.get("pos")), room, list(room))
        block = self.blocks[root]
        if side == "over" and not block.covered:
            offset, block.covered = (0, 0), True
        elif side == "right":
            offset = (block.size[0] + GAP, 0)
        else:
            offset = (block.offsets.get(near, (0, 0))[0], block.size[1] + GAP)
        block.offsets[number] = offset
        block.size = [max(block.size[axis], offset[axis] + size[axis]) for axis in (0, 1)]
        self.roots[number] = root

    def growth(self, axis):
        """(edge, amount) for each block: what lies beyond the edge moves by the amount."""
        for block in self.blocks.values():
            yield block.place[axis] + block.room[axis], block.size[axis] - block.room[axis]

    def settle(self, groups):
        """Moves the nodes and the frames around them, and places what was added."""
        moves = [Moves(self.growth(axis)) for axis in (0, 1)]
        for number, fields in self.nodes.items():
            if number not in self.roots:
                place = xy(fields.get("pos"))
                moved = [place[axis] + moves[axis].at(place[axis]) for axis in (0, 1)]
                if moved != place:
                    fields["pos"] = moved
        for block in self.blocks.values():
            corner = [block.place[axis] + moves[axis].at(block.place[axis]) for axis in (0, 1)]
            for number, offset in block.offsets.items():
                self.nodes[number]["pos"] = [corner[axis] + offset[axis] for axis in (0, 1)]
        for group in groups:
            bounds = group.get("bounding") if isinstance(group, dict) else None
            if isinstance(bounds, list) and len(bounds) == 4 and all(isinstance(edge, (int, float)) for edge in bounds):
                for axis in (0, 1):
                    start, end = bounds[axis], bounds[axis] + bounds[axis + 2]
                    bounds[axis] += moves[axis].at(start)
                    bounds[axis + 2] += max(0, moves[axis].before(end) - moves[axis].at(start))


class Moves:
    """How far what lies at a coordinate moves: the sum of the amounts of all edges up to it."""

    def __init__(self, growth):
        ordered = sorted(growth)
        self.edges = [edge for edge, _ in ordered]
        self.sums = [0, *accumulate(amount for _, amount in ordered)]

    def at(self, place):
        return self.sums[bisect_right(self.edges, place)]

    def before(self, place):
        return self.sums[bisect_left(self.edges, place)]
