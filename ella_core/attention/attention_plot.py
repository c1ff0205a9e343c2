"""The picture of an attention map: words from left to right, timesteps from noise (top) to picture (bottom)."""

import math

import torch
from einops import rearrange

from ..errors import ELLAError

# All in pixels. The width is fixed, so that a preview scaled to 1024 keeps the words readable; longer prompts go on in
# further panels below.
WIDTH = 1024
LEFT, RIGHT, HEADER, GAP = 110, 90, 96, 24
PANEL_WIDTH = WIDTH - LEFT - RIGHT
COLUMN, WIDEST_COLUMN = 22, 110
LABEL = 150  # the longest word
ROW, LOWEST_PANEL, HIGHEST_PANEL = 13, 208, 520
WORDS_PER_PANEL = PANEL_WIDTH // COLUMN
MOST_PANELS = 12
DPI = 100
FONT_SIZE, FONT_HEIGHT = 10, 14  # points, pixels


def plot_attention(values, timesteps, words, lines):
    """Values 0..1 (S, number of words) -> picture (1, height, 1024, 3) float 0..1.

    `timesteps` (S) name the rows, `words` the columns, `lines` is what is written above. Words beyond MOST_PANELS are
    not drawn, which is written too. Raises ELLAError where matplotlib is not installed.
    """
    try:
        import matplotlib.style  # slow to import, so only when a picture is drawn
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ELLAError(
            "The attention map is drawn with matplotlib, which is not installed here; install it with pip install "
            "matplotlib in ComfyUI's Python."
        ) from error

    drawn = words[: MOST_PANELS * WORDS_PER_PANEL]
    if len(drawn) < len(words):
        lines = [*lines, f"Words {len(drawn) + 1} to {len(words)} are in the CSV alone."]
    # Other packs may have changed matplotlib's settings for the whole process.
    with matplotlib.style.context("default"):
        figure = Figure(dpi=DPI)
        canvas = FigureCanvasAgg(figure)
        widths = TextWidths(canvas.get_renderer())
        draw(figure, values[:, : len(drawn)].cpu().numpy(), timesteps, drawn, lines, widths)
        canvas.draw()
        pixels = torch.frombuffer(bytearray(canvas.buffer_rgba()), dtype=torch.uint8)
    pixels = rearrange(pixels, "(height width rgba) -> 1 height width rgba", width=WIDTH, rgba=4)
    return pixels[..., :3].float() / 255


class TextWidths:
    """Widths in pixels of texts in the picture's font."""

    def __init__(self, renderer):
        from matplotlib.font_manager import FontProperties

        self.renderer = renderer
        self.font = FontProperties(size=FONT_SIZE)

    def of(self, text):
        return self.renderer.get_text_width_height_descent(text, self.font, False)[0]

    def shortened(self, text, width):
        """The text itself, or as much of it as is not wider than `width`, with an ellipsis."""
        kept = text
        while text and (found := self.of(kept)) > width:
            text = text[: min(len(text) - 1, int(len(text) * width / found))]
            kept = text + "\u2026"
        return kept


def draw(figure, values, timesteps, words, lines, widths):
    """Lays out header, panels and colour scale on the figure, whose size it sets."""
    panels = math.ceil(len(words) / WORDS_PER_PANEL)
    per_panel = math.ceil(len(words) / panels)
    column = min(WIDEST_COLUMN, PANEL_WIDTH // per_panel)
    words = [widths.shortened(word, LABEL) for word in words]
    longest = max(widths.of(word) for word in words)
    upright = longest > column - 8
    panel_height = min(max(LOWEST_PANEL, ROW * len(timesteps)), HIGHEST_PANEL)
    pitch = panel_height + (math.ceil(longest) if upright else FONT_HEIGHT) + GAP
    height = HEADER + panels * pitch
    figure.set_size_inches(WIDTH / DPI, height / DPI)

    def axes_at(left, top, width, tall):
        return figure.add_axes((left / WIDTH, 1 - (top + tall) / height, width / WIDTH, tall / height))

    for number, line in enumerate(lines):
        weight = "bold" if number == 0 else "normal"
        position = (LEFT / WIDTH, 1 - (12 + 19 * number) / height)
        line = widths.shortened(line, WIDTH - LEFT - 8)
        figure.text(*position, line, size=FONT_SIZE, weight=weight, va="top", parse_math=False)
    rows = labelled_rows(len(timesteps))
    for number in range(panels):
        some = slice(number * per_panel, (number + 1) * per_panel)
        columns = len(words[some])
        axes = axes_at(LEFT, HEADER + number * pitch, column * columns, panel_height)
        image = axes.imshow(values[:, some], cmap="viridis", vmin=0, vmax=1, aspect="auto")
        # Not as mathematics, which a $ in a prompt would begin.
        axes.set_xticks(range(columns), words[some], size=FONT_SIZE, rotation=90 if upright else 0, parse_math=False)
        axes.set_yticks(rows, [row_label(timesteps, row) for row in rows], size=FONT_SIZE)
        if number == 0:
            scale = axes_at(LEFT + column * columns + 16, HEADER, 14, panel_height)
            figure.colorbar(image, cax=scale, ticks=[0, 0.5, 1])


def labelled_rows(count):
    """Rows whose timestep is written: evenly from the first, and the last."""
    stride = math.ceil((count - 1) / 8)
    return [row for row in range(0, count - 1, stride) if count - 1 - row >= stride] + [count - 1]


def row_label(timesteps, row):
    if row == 0:
        return f"noise  {timesteps[row]}"
    return f"picture  {timesteps[row]}" if row == len(timesteps) - 1 else f"{timesteps[row]}"
