"""What a judge is: it answers questions about pictures, and it says exactly what it is."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
from pathlib import Path

LIBRARIES = ("torch", "transformers", "tokenizers", "torchvision", "pillow", "modelscope")
WEIGHTS = (".safetensors", ".bin", ".pt", ".pth")
SAMPLE = 2**20  # bytes read at the beginning and at the end of each file of weights


@dataclasses.dataclass(frozen=True)
class Identity:
    """Everything that an answer depends on beside picture and question; another identity is another judge.

    `model` is the name of the folder and `fingerprint` tells two folders of that name apart. `template` is the text
    around the question, `token_ids` the first tokens that count as each answer, `settings` what else was chosen.
    """

    judge: str
    model: str
    fingerprint: str
    template: str
    token_ids: dict = dataclasses.field(default_factory=dict)
    settings: dict = dataclasses.field(default_factory=dict)
    libraries: dict = dataclasses.field(default_factory=lambda: library_versions())


class Judge:
    """A judge: `name` is its row in `judges/__init__.py`, `kinds` are the kinds of questions that it answers."""

    name: str
    kinds: tuple[str, ...]
    identity: Identity

    def answer(self, pictures, questions):
        """[(text, p_yes)] of pictures[i] (PIL, RGB) and questions[i].

        p_yes is the probability 0..1 of the answer that the question expects, text what the judge says in words.
        """
        raise NotImplementedError


def dtype_name(dtype):
    """torch.bfloat16 -> "bfloat16"."""
    return str(dtype).removeprefix("torch.")


def library_versions():
    """The versions of the installed libraries that have a part in an answer."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            pass
    return found


def fingerprint(folder):
    """16 hex digits of a model's folder: of its small files whole, and of each file of weights its name, its size, its
    first and its last MiB, so that a model of any size is told apart in an instant."""
    digest = hashlib.sha256()
    for path in sorted(path for path in Path(folder).iterdir() if path.is_file() and not path.name.startswith(".")):
        if path.suffix not in (*WEIGHTS, ".json", ".txt", ".model", ".jinja"):
            continue
        size = path.stat().st_size
        digest.update(f"{path.name}\n{size}\n".encode())
        with open(path, "rb") as file:
            digest.update(file.read(SAMPLE if path.suffix in WEIGHTS else -1))
            if path.suffix in WEIGHTS and size > SAMPLE:
                file.seek(max(SAMPLE, size - SAMPLE))
                digest.update(file.read())
    return digest.hexdigest()[:16]
