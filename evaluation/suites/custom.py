"""Prompts of one's own: text files, a JSON object, or a CSV in the format of DPG-Bench."""

import json
from pathlib import Path

from ..errors import EvaluationError
from .prompt_lines import read_lines
from .question_csv import read_bytes, read_question_csv
from .suite import Prompt, Question, Suite

SOURCE = (
    "The prompts are the user's own: a folder of .txt files (the name is the id), a .txt with a prompt in each line, a "
    '.json {"id": "prompt"}, or a .csv with the columns of DPG-Bench.'
)


def load(data, categories=()):
    """The suite from a folder or file. Prompts without questions get one, whether the picture shows them."""
    path = Path(data)
    if path.is_dir():
        tables = sorted(path.glob("*.csv"))
        texts = sorted(path.glob("*.txt"))
        if len(tables) == 1 and not texts:
            return load(tables[0])
        prompts = tuple(_asked(file.stem, " ".join(line for _, line in read_lines(file))) for file in texts)
    elif path.suffix.lower() == ".csv":
        prompts, remarks = read_question_csv(path)
        return Suite("custom", prompts, "graph", SOURCE, remarks)
    elif path.suffix.lower() == ".json":
        prompts = tuple(_asked(prompt_id, text) for prompt_id, text in _texts(path).items())
    else:
        prompts = tuple(_asked(f"{number:04d}", line) for number, line in read_lines(path))
    return Suite("custom", prompts, "graph", SOURCE)


def _asked(prompt_id, text):
    if not text:
        raise EvaluationError(f"the prompt {prompt_id} is empty; write a text or take it out.")
    return Prompt(prompt_id, text, (Question(1, f'Does this picture show "{text}"?'),))


def _texts(path):
    try:
        texts = json.loads(read_bytes(path), object_pairs_hook=_without_repeats)
    except UnicodeDecodeError:
        texts = None
    except json.JSONDecodeError as error:
        raise EvaluationError(f"{path} is no JSON ({error}); write an object of ids and prompts.") from None
    if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
        raise EvaluationError(f'{path} is no JSON object of ids and prompts; write {{"id": "prompt", ...}}.')
    return {prompt_id.removesuffix(".txt"): text.strip() for prompt_id, text in texts.items()}


def _without_repeats(pairs):
    seen = set()
    for name, _ in pairs:
        if name in seen:
            raise EvaluationError(f"two prompts have the id {name}; give each an id of its own.")
        seen.add(name)
    return dict(pairs)
