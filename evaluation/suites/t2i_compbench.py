"""T2I-CompBench (arXiv 2307.06350): attribute binding, relations, and complex prompts."""

from __future__ import annotations

from pathlib import Path

from ..errors import EvaluationError
from .noun_phrases import (
    first_and_last_noun,
    noun_phrases,
    objects_around_preposition,
    read_prompts,
    relation,
    without_adjectives,
)
from .prompt_lines import read_lines
from .suite import MATCH, SPATIAL, Prompt, Question, Suite

SOURCE = (
    "T2I-CompBench is examples/dataset of github.com/Karine-Huang/T2I-CompBench (MIT); download the <category>_val.txt "
    "files and give their folder, or one of them, as --data. Its protocol draws 10 images of each prompt."
)
CATEGORIES = ("color", "shape", "texture", "spatial", "non_spatial", "complex")


def load(data, categories=()):
    """The suite from a folder of <category>_val.txt or <category>.txt, or from one such file; ids are color_0001 on.

    complex also needs complex_val_spatial.txt and complex_val_action.txt, which tell what a prompt is made of.
    """
    unknown = set(categories) - set(CATEGORIES)
    if unknown:
        raise EvaluationError(
            f"T2I-CompBench has no category {sorted(unknown)[0]} here; there are {', '.join(CATEGORIES)}."
        )
    prompts, remarks = [], []
    for category, path in _files(Path(data), categories):
        lines = read_lines(path)
        if not path.stem.endswith("_val"):
            remarks.append(f"{path.name} is not {category}_val.txt, which published scores are made on.")
        parts = _parts(path) if category == "complex" else None
        for (number, text), doc in zip(lines, read_prompts([text for _, text in lines])):
            questions = _questions(category, text, doc, parts)
            prompts.append(Prompt(f"{category}_{number:04d}", text, questions, category))
    return Suite("t2i_compbench", tuple(prompts), "t2i_compbench", SOURCE, tuple(remarks))


def _files(data, categories):
    """[(category, path)] in the order of CATEGORIES."""
    if data.is_dir():
        names = {category: (f"{category}_val.txt", f"{category}.txt") for category in categories or CATEGORIES}
        found = {
            category: next((data / name for name in both if (data / name).is_file()), None)
            for category, both in names.items()
        }
        lacking = [names[category][0] for category, path in found.items() if path is None and categories]
        if lacking or not any(found.values()):
            raise EvaluationError(f"{data} holds no {lacking[0] if lacking else '<category>_val.txt'}; {SOURCE}")
        return [(category, found[category]) for category in CATEGORIES if found.get(category)]
    category = next((name for name in CATEGORIES if data.stem == name or data.stem.startswith(name + "_")), None)
    if category is None:
        raise EvaluationError(f"{data.name} names no category; call the file <category>_val.txt.")
    return [(category, data)]


def _questions(category, text, doc, parts):
    if category in ("color", "shape", "texture"):
        kinds = {"attribute"}
    elif category == "complex":
        kinds = {"attribute", *parts(text)}
    else:
        kinds = {{"spatial": "spatial", "non_spatial": "action"}[category]}
    questions = []
    if "attribute" in kinds:
        questions += [(f"{phrase}?", "attribute", {}) for phrase in noun_phrases(doc)]
    if "spatial" in kinds:
        objects = first_and_last_noun(doc) if category == "spatial" else objects_around_preposition(doc)
        questions.append(
            (text, "spatial", {"kind": SPATIAL, "details": {"objects": objects, "relation": relation(text)}})
        )
    if "action" in kinds:
        words = without_adjectives(doc) if category == "complex" else text
        questions.append((words, "action", {"kind": MATCH}))
    if not questions:
        raise EvaluationError(f"no noun phrase was found in {text!r}; take the line out.")
    return tuple(Question(id, words, category=part, **rest) for id, (words, part, rest) in enumerate(questions, 1))


def _parts(path):
    """A function from a complex prompt to {"spatial"}, {"action"} or both, by the lists beside the file."""
    lists = {part: sorted(path.parent.glob(f"{path.stem}*_{part}.txt")) for part in ("spatial", "action")}
    if not all(lists.values()):
        raise EvaluationError(
            f"{path.parent} lacks {path.stem}_spatial.txt and {path.stem}_action.txt, which tell what each prompt of "
            f"{path.name} is made of; download them beside it."
        )
    texts = {part: {_key(line) for file in files for _, line in read_lines(file)} for part, files in lists.items()}

    def parts(text):
        if _key(text) in texts["spatial"]:
            return {"spatial"}
        return {"action"} if _key(text) in texts["action"] else {"spatial", "action"}

    return parts


def _key(text):
    return text.split(".")[0].lower()  # as the official script compares them
