"""A grammar of scenes: one to six shapes on a white ground, drawn with antialiasing.

A scene is a tuple of groups; a group is one, two or three equal shapes in a row. Everything is decided by the random
generator that is handed in, so that a seed makes the same scene on every machine.
"""

from dataclasses import dataclass
from itertools import product
from random import Random

from PIL import Image, ImageDraw

PIXELS = 64
KINDS = ("circle", "square", "triangle", "cross")
COLOURS = {
    "red": (215, 40, 45),
    "green": (45, 165, 75),
    "blue": (45, 85, 220),
    "yellow": (250, 210, 40),
    "purple": (150, 55, 185),
    "black": (25, 25, 30),
}
GROUND = (255, 255, 255)
DIAMETERS = {"small": 11.0, "large": 17.0}  # pixels
INNER_DIAMETER = 9.0  # of a small shape that lies inside a large one
CONTAINER_DIAMETER = 19.0
# Cells of a three by three grid, by row and column, and what a person calls them.
PLACES = (("upper left", "top", "upper right"), ("left", "middle", "right"), ("lower left", "bottom", "lower right"))
ROWS = ("top row", "middle row", "bottom row")
# Never drawn in training: the study asks for them.
HELD_OUT = frozenset({("circle", "purple"), ("square", "yellow"), ("triangle", "red"), ("cross", "blue")})
MOST_SHAPES = 6  # of a scene
SUPERSAMPLING = 4


@dataclass(frozen=True)
class Shape:
    """A shape in a picture: its kind, colour and size by name, its centre and diameter in pixels."""

    kind: str
    colour: str
    size: str
    x: float
    y: float
    diameter: float


@dataclass(frozen=True)
class Group:
    """One, two or three equal shapes; `place` is a name out of `PLACES` or `ROWS`, or "inside" another group."""

    shapes: tuple[Shape, ...]
    place: str
    inside: int | None = None  # the index of the group that contains this one

    @property
    def looks(self) -> tuple[int, str, str, str]:
        """How many, of which size, colour and kind."""
        first = self.shapes[0]
        return len(self.shapes), first.size, first.colour, first.kind


@dataclass(frozen=True)
class Scene:
    """What a picture shows."""

    groups: tuple[Group, ...]

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """Every shape, group by group."""
        return tuple(shape for group in self.groups for shape in group.shapes)


def random_scene(random: Random, shapes: int | None = None, held_out: bool = False) -> Scene:
    """A scene of `shapes` shapes (1 to 6, by chance if None); with `held_out` every pair of kind and colour is one
    of `HELD_OUT`, otherwise none is."""
    left = shapes or random.randint(1, MOST_SHAPES)
    pairs = [pair for pair in product(KINDS, COLOURS) if (pair in HELD_OUT) == held_out]
    random.shuffle(pairs)
    free = {(row, column) for row in range(3) for column in range(3)}
    groups: list[Group] = []
    while left and pairs:
        kind, colour = pairs.pop()
        size = random.choice(tuple(DIAMETERS))
        count = _count(random, left)
        contains = count == 1 and left > 1 and kind in ("circle", "square") and pairs and random.random() < 0.15
        cells = _cells(random, free, count)
        if cells is None:
            count, cells = 1, _cells(random, free, 1)
        if contains:
            outer = _placed(random, kind, colour, "large", cells, CONTAINER_DIAMETER)
            groups.append(outer)
            inner_kind, inner_colour = pairs.pop()
            if inner_colour == colour:
                pairs.insert(0, (inner_kind, inner_colour))
            else:
                middle = outer.shapes[0]
                inner = Shape(inner_kind, inner_colour, "small", middle.x, middle.y, INNER_DIAMETER)
                groups.append(Group((inner,), "inside", inside=len(groups) - 1))
                left -= 1
        else:
            groups.append(_placed(random, kind, colour, size, cells, DIAMETERS[size]))
        free -= set(cells)
        left -= count
    return Scene(tuple(groups))


def arranged_scene(random: Random) -> Scene:
    """A scene as a person sets out what stands to one another: a group alone in the middle, two beside or above one
    another, and often a third above, below or beside both."""
    pairs = [pair for pair in product(KINDS, COLOURS) if pair not in HELD_OUT]
    random.shuffle(pairs)
    groups = random.choices((1, 2, 3), (0.1, 0.35, 0.55))[0]
    if groups == 1:
        places = [_across(1, _several(random))]
    elif random.random() < 0.6:
        places = [[(1, 0)], [(1, 2)] if random.random() < 0.8 else [(1, 1), (1, 2)]]
        places += [_across(random.choice((0, 2)), _several(random))] if groups == 3 else []
    elif groups == 2:
        places = [_across(row, _several(random)) for row in (0, 2)]
    else:
        places = [[(0, 1)], [(2, 1)], [(1, random.choice((0, 2)))]]
    placed = []
    for (kind, colour), cells in zip(pairs, places):
        size = random.choice(tuple(DIAMETERS))
        placed.append(_placed(random, kind, colour, size, cells, DIAMETERS[size]))
    return Scene(tuple(placed))


def _across(row: int, count: int) -> list[tuple[int, int]]:
    """Cells of a row for a group that has it to itself."""
    return [(row, column) for column in {1: (1,), 2: (0, 2), 3: (0, 1, 2)}[count]]


def _count(random: Random, left: int) -> int:
    """How many equal shapes the next group has: mostly one."""
    return min(left, random.choices((1, 2, 3), (0.76, 0.16, 0.08))[0])


def _several(random: Random) -> int:
    """How many equal shapes a group of an arranged scene has: more than one as often as not."""
    return random.choices((1, 2, 3), (0.5, 0.35, 0.15))[0]


def _cells(random: Random, free: set[tuple[int, int]], count: int) -> list[tuple[int, int]] | None:
    """`count` free cells of one row, None where no row has so many."""
    if count == 1:
        return [random.choice(sorted(free))]
    rows = [row for row in range(3) if sum((row, column) in free for column in range(3)) >= count]
    if not rows:
        return None
    row = random.choice(rows)
    columns = sorted(random.sample([column for column in range(3) if (row, column) in free], count))
    return [(row, column) for column in columns]


def _placed(random: Random, kind: str, colour: str, size: str, cells: list[tuple[int, int]], diameter: float) -> Group:
    """A group in these cells, each shape a little beside the middle of its cell."""
    cell = PIXELS / 3
    shapes = tuple(
        Shape(
            kind,
            colour,
            size,
            round((column + 0.5) * cell + random.uniform(-1.2, 1.2), 2),
            round((row + 0.5) * cell + random.uniform(-1.2, 1.2), 2),
            diameter,
        )
        for row, column in cells
    )
    row, column = cells[0]
    return Group(shapes, PLACES[row][column] if len(cells) == 1 else ROWS[row])


def draw(scene: Scene) -> Image.Image:
    """The picture of a scene, RGB, 64 x 64 pixels; later shapes lie over earlier ones."""
    big = Image.new("RGB", (PIXELS * SUPERSAMPLING,) * 2, GROUND)
    pencil = ImageDraw.Draw(big)
    for shape in scene.shapes:
        draw_shape(pencil, shape.kind, shape.x, shape.y, shape.diameter, COLOURS[shape.colour], SUPERSAMPLING)
    return big.reduce(SUPERSAMPLING)


def draw_shape(pencil: ImageDraw.ImageDraw, kind: str, x: float, y: float, diameter: float, fill, scale: int) -> None:
    """Draws one shape whose bounding box is a square of `diameter`, all lengths multiplied by `scale`."""
    radius = diameter / 2
    left, top, right, bottom = ((v * scale) for v in (x - radius, y - radius, x + radius, y + radius))
    if kind == "circle":
        pencil.ellipse((left, top, right, bottom), fill=fill)
    elif kind == "square":
        pencil.rectangle((left, top, right, bottom), fill=fill)
    elif kind == "triangle":
        pencil.polygon(((x * scale, top), (right, bottom), (left, bottom)), fill=fill)
    else:
        arm = diameter / 6 * scale
        pencil.rectangle((x * scale - arm, top, x * scale + arm, bottom), fill=fill)
        pencil.rectangle((left, y * scale - arm, right, y * scale + arm), fill=fill)
