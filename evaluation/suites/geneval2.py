"""GenEval 2 (arXiv 2512.16853): 800 prompts of three to ten atoms, each atom a question; scored by Soft-TIFA."""

from ..errors import EvaluationError
from .json_lines import read_json_lines
from .question_csv import find_file
from .suite import NUMBER, YES_NO, Prompt, Question, Suite

SOURCE = (
    "GenEval 2 is geneval2_data.jsonl of github.com/facebookresearch/GenEval2 (CC BY-NC 4.0, so never shipped here); "
    "download it and give it, or its folder, as --data."
)


def load(data, categories=()):
    """The suite from the .jsonl, or its folder. A prompt's category is its atomicity, a question's its skill."""
    path = find_file(data, "geneval2_data.jsonl")
    prompts = []
    for place, (number, record) in enumerate(read_json_lines(path, "prompt", "atom_count", "vqa_list", "skills")):
        if len(record["vqa_list"]) != len(record["skills"]) or not record["vqa_list"]:
            raise EvaluationError(
                f"line {number} of {path} has {len(record['vqa_list'])} questions and {len(record['skills'])} skills; "
                "give --data the published file."
            )
        questions = tuple(
            Question(
                id,
                question,
                category=skill,
                kind=NUMBER if question.startswith("How many") else YES_NO,
                expected=answer.lower(),
            )
            for id, ((question, answer), skill) in enumerate(zip(record["vqa_list"], record["skills"]), 1)
        )
        prompts.append(Prompt(f"{place:04d}", record["prompt"], questions, f"atomicity {record['atom_count']}"))
    return Suite("geneval2", tuple(prompts), "soft_tifa", SOURCE)
