"""The tensors of a network that repeats one block, known by name and shape before the network is built."""

from __future__ import annotations

from collections.abc import Mapping

MOST_BLOCKS = 256


class BlockShapes(Mapping):
    """Tensor name -> shape of a network with `depth` blocks, told from the `shapes` of the same network with two.

    A block's tensors are named `prefix`, its number and what follows. Block 1 speaks for all after it; block 0 may hold
    more. Nothing is computed but what is asked for.
    """

    def __init__(self, shapes, prefix, depth):
        self.prefix = prefix
        self.depth = depth
        self.repeated = {name[len(prefix) + 1 :]: shapes[name] for name in shapes if name.startswith(prefix + "1.")}
        self.single = {name: shape for name, shape in shapes.items() if not name.startswith(prefix + "1.")}
        self.numbers = {str(number) for number in range(1, depth)}

    def __getitem__(self, name):
        if name in self.single:
            return self.single[name]
        number, point, inside = name.removeprefix(self.prefix).partition(".")
        if not name.startswith(self.prefix) or number not in self.numbers:
            raise KeyError(name)
        return self.repeated[point + inside]

    def __iter__(self):
        yield from self.single
        for number in range(1, self.depth):
            yield from (f"{self.prefix}{number}{inside}" for inside in self.repeated)

    def __len__(self):
        return len(self.single) + (self.depth - 1) * len(self.repeated)


def count_blocks(names, prefix):
    """How many blocks 0, 1, 2, ... the names hold without a gap."""
    found = {name[len(prefix) :].partition(".")[0] for name in names if name.startswith(prefix)}
    depth = 0
    while str(depth) in found:
        depth += 1
    return depth
