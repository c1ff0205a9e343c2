"""Runs of drawn pictures, a judge that counts their squares exactly, and what a picture of each prompt must show."""

import io
import re

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from evaluation.judges.judge import Identity, Judge
from evaluation.run_folder import RunFolder
from evaluation.suites.suite import Prompt, Question, Suite

COLORS = {"red": (220, 30, 30), "green": (30, 160, 60), "blue": (40, 60, 220)}
COUNTS = ("no", "one", "two", "three")
SCENES = [{"red": 1}, {"red": 2, "blue": 1}, {"green": 3}, {"blue": 2, "green": 1}, {"red": 3, "green": 2, "blue": 1}]


def squares_suite(scenes=SCENES):
    """Prompts like "two red squares and one blue square": a question on each colour, and one that depends on it."""
    prompts = []
    for number, scene in enumerate(scenes):
        questions = []
        for color, count in scene.items():
            there = len(questions) + 1
            questions.append(Question(there, f"Is there a {color} square?", (), "entity - whole"))
            text = f"Are there exactly {COUNTS[count]} {color} squares?"
            questions.append(Question(there + 1, text, (there,), "other - count"))
        text = " and ".join(f"{COUNTS[count]} {color} square{'s' * (count > 1)}" for color, count in scene.items())
        prompts.append(Prompt(f"scene_{number}", text, tuple(questions)))
    return Suite("custom", tuple(prompts), "graph", "drawn for a test")


def draw(squares, size=96):
    """PNG bytes of a grey picture with {color: number} squares, no two of which touch."""
    picture = Image.new("RGB", (size, size), (128, 128, 128))
    cells = [(x, y) for y in range(3) for x in range(3)]
    for color in [color for color, count in squares.items() for _ in range(count)]:
        x, y = cells.pop(0)
        left, top = x * size // 3 + 4, y * size // 3 + 4
        ImageDraw.Draw(picture).rectangle((left, top, left + size // 3 - 9, top + size // 3 - 9), COLORS[color])
    data = io.BytesIO()
    picture.save(data, "PNG")
    return data.getvalue()


def drawn_run(path, shown, images=2, scenes=SCENES, settings=()):
    """A finished RunFolder. `shown(scene, index)` is what the picture shows: {color: number}."""
    run = RunFolder.create(path, {"images": images, "seed": 7, **dict(settings)}, squares_suite(scenes))
    for number, scene in enumerate(scenes):
        for index in range(images):
            run.add_picture(f"scene_{number}", index, draw(shown(scene, index)), 7 + index, "http://127.0.0.1:8188")
    return run


class SquareCounter(Judge):
    """Counts the squares of a colour in the pixels, so that its answers are the truth."""

    name = "square-counter"
    kinds = ("yes_no",)

    def __init__(self):
        self.identity = Identity(self.name, "exact", "", "{question}", libraries={})
        self.asked = 0

    def answer(self, pictures, questions):
        self.asked += len(questions)
        return [self.verdict(picture, question.text) for picture, question in zip(pictures, questions, strict=True)]

    @staticmethod
    def verdict(picture, text):
        color = next(word for word in COLORS if word in text)
        _, found = ndimage.label(np.all(np.asarray(picture) == COLORS[color], axis=-1))
        wanted = re.search("exactly (\\w+)", text)
        right = found == COUNTS.index(wanted[1]) if wanted else found > 0
        return ("yes", 1.0) if right else ("no", 0.0)
