"""GenEval (arXiv 2310.11513): 553 short prompts in six tasks, judged by detected objects."""

from ..errors import EvaluationError
from .json_lines import read_json_lines
from .question_csv import find_file
from .suite import OBJECTS, Prompt, Question, Suite

SOURCE = (
    "GenEval is prompts/evaluation_metadata.jsonl of github.com/djghosh13/geneval (MIT); download it and give it, or "
    "its folder, as --data."
)
TASKS = ("single_object", "two_object", "counting", "colors", "position", "color_attr")


def load(data, categories=()):
    """The suite from the .jsonl, or its folder; `categories` are tasks. Ids are the official folders', 00000 on."""
    unknown = set(categories) - set(TASKS)
    if unknown:
        raise EvaluationError(f"GenEval has no task {sorted(unknown)[0]}; its tasks are {', '.join(TASKS)}.")
    path = find_file(data, "evaluation_metadata.jsonl")
    prompts = []
    for place, (number, record) in enumerate(read_json_lines(path, "tag", "include", "prompt")):
        task = record["tag"]
        if task not in TASKS:
            raise EvaluationError(f"line {number} of {path} has the tag {task!r}; the tasks are {', '.join(TASKS)}.")
        if categories and task not in categories:
            continue
        details = {"tag": task, "include": record["include"], "exclude": record.get("exclude", [])}
        question = Question(1, record["prompt"], category=task, kind=OBJECTS, details=details)
        prompts.append(Prompt(f"{place:05d}", record["prompt"], (question,), task))
    return Suite("geneval", tuple(prompts), "task_means", SOURCE)
