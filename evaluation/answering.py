"""A judge answers every question on every picture of a run, on any number of processes, resumable.

The work is cut into batches once, in the order of the suite, and a process takes every n-th of them. What was answered
is skipped, but a batch begun is asked whole again: so each answer comes from the same batch, and is the same number,
however often the work was interrupted and however many processes shared it. The first process writes into the answers'
own file, each other one into shard.<name>.<process>.jsonl, which the first gathers in the end, or at the next start.
"""

from __future__ import annotations

import dataclasses
import json
import re
from contextlib import ExitStack
from itertools import islice

from accelerate.utils import broadcast_object_list, gather_object
from tqdm import tqdm

from .errors import EvaluationError
from .judges.answer_words import is_answer
from .line_file import LineFile
from .run_folder import write_whole

NAME = re.compile(r"[A-Za-z0-9_-]+")
PATIENCE = 32  # answers after which a judge that never said an expected word is stopped


def answer_all(run, judge, name, batch_size, state):
    """Brings answers.<name>.jsonl of a RunFolder to completion; returns sentences on what is odd in it.

    `state` is Accelerate's PartialState. Raises EvaluationError where pictures lack (after all others were asked),
    where another process judges under the same name, or where the judge is not the one that began.
    """
    if not NAME.fullmatch(name):
        raise EvaluationError(f"the name {name!r} can't be part of a file's name; use letters, digits, - and _.")
    with ExitStack() as held:

        def begin():
            held.enter_context(run.lock(f"answers.{name}"))
            questions = questions_for(run.suite, judge)
            run.keep_judge_settings(name, dataclasses.asdict(judge.identity))
            gather(run, name)
            answered = {key_of(line) for line in run.answers(name).read()}
            return questions, answered, run.missing(verify=True)

        questions, answered, missing = on_first(state, begin)
        work = [(*picture, question) for picture in run.wanted() for question in questions.get(picture[0], ())]
        damaged = answer_batches(run, judge, name, state, batched(work, batch_size), answered, set(missing))
        missing += [picture for picture in gather_object(sorted(damaged)) if picture not in missing]
        return on_first(state, lambda: finish(run, name, questions, missing))


def questions_for(suite, judge):
    """{prompt id: its questions that the judge can answer}; EvaluationError where there are none."""
    found = {prompt.id: [q for q in prompt.questions if q.kind in judge.kinds] for prompt in suite.prompts}
    if not any(found.values()):
        kinds = sorted({question.kind for prompt in suite.prompts for question in prompt.questions})
        raise EvaluationError(
            f"{judge.name} answers questions of the kind {' or '.join(judge.kinds)}, but {suite.name} has "
            f"{' and '.join(kinds) or 'no questions'}; take another judge."
        )
    return found


def answer_batches(run, judge, name, state, batches, answered, missing):
    """Asks this process's batches and appends each one's answers as soon as they are there.

    Returns the pictures, as (prompt id, index), that turned out to be damaged.
    """

    def to_do(key):
        return key[:2] not in missing and (*key[:2], key[2].id) not in answered

    own = run.answers(name) if state.is_main_process else LineFile(shard_path(run, name, state.process_index))
    damaged = set()
    asked = understood = 0
    mine = [batch for number, batch in enumerate(batches) if number % state.num_processes == state.process_index]
    mine = [batch for batch in mine if any(to_do(key) for key in batch)]
    for batch in tqdm(mine, desc=name, unit="batch", disable=not state.is_main_process or not mine):
        pictures = {}
        for picture in {key[:2]: None for key in batch if key[:2] not in missing}:
            try:
                pictures[picture] = run.read_picture(*picture)
            except EvaluationError:
                damaged.add(picture)
        batch = [key for key in batch if key[:2] in pictures]
        if not batch:
            continue
        answers = judge.answer([pictures[key[:2]] for key in batch], [key[2] for key in batch])
        asked += len(batch)
        understood += sum(is_answer(text, key[2]) for key, (text, _) in zip(batch, answers, strict=True))
        if asked >= PATIENCE and not understood:
            raise EvaluationError(
                f"{name} answers neither yes nor no: {answers[-1][0]!r} to {batch[-1][2].text!r}, and so {asked} "
                "times; check its model and its template."
            )
        lines = [
            {"prompt": prompt, "index": index, "question": question.id, "answer": text, "p_yes": p_yes}
            for (prompt, index, question), (text, p_yes) in zip(batch, answers, strict=True)
        ]
        own.append(*(line for line in lines if key_of(line) not in answered))
    return damaged


def finish(run, name, questions, missing):
    """Gathers the shards and says what is odd; EvaluationError where pictures lack."""
    gather(run, name)
    by_id = {(prompt, question.id): question for prompt, some in questions.items() for question in some}
    lines = [line for line in run.answers(name).read() if (line["prompt"], line["question"]) in by_id]
    odd = [line for line in lines if not is_answer(line["answer"], by_id[line["prompt"], line["question"]])]
    if missing:
        raise EvaluationError(
            f"{len(missing)} pictures of {run.path} are missing or damaged, the first is "
            f"{run.picture_path(*missing[0])}; all others are judged. Delete what is damaged and run generate on this "
            "folder, which makes just what lacks, then this command again."
        )
    return [
        f"{len(odd)} of {len(lines)} answers are neither yes nor no, the first is {line['answer']!r} to question "
        f"{line['question']} on picture {line['index']} of {line['prompt']}; they do not count as yes."
        for line in odd[:1]
    ]


def gather(run, name):
    """Puts the answers of all shards into the answers' own file, in the order of the suite, each once."""
    shards = sorted(run.path.glob(f"shard.{name}.*.jsonl"))
    answers = run.answers(name)
    lines = {key_of(line): line for file in [answers, *map(LineFile, shards)] for line in file.read()}
    if not lines:
        return
    order = {prompt.id: number for number, prompt in enumerate(run.suite.prompts)}
    ids = {(prompt.id, q.id): number for prompt in run.suite.prompts for number, q in enumerate(prompt.questions)}
    keys = sorted(lines, key=lambda key: (order.get(key[0], len(order)), key[1], ids.get((key[0], key[2]), -1)))
    text = "".join(json.dumps(lines[key], ensure_ascii=False) + "\n" for key in keys)
    write_whole(answers.path, text.encode())
    for shard in shards:
        shard.unlink()


def on_first(state, function):
    """What a function returns that the first process alone runs; its EvaluationError ends the other processes too."""
    shared = [None, None]
    if state.is_main_process:
        try:
            shared = [function(), None]
        except EvaluationError as error:
            shared = [None, error]
    broadcast_object_list(shared)
    result, error = shared
    if error is not None:
        raise error if state.is_main_process else SystemExit(1)
    return result


def shard_path(run, name, process):
    """Where a process other than the first writes its answers."""
    return run.path / f"shard.{name}.{process}.jsonl"


def key_of(line):
    """(prompt id, index, question id) of an answer's line."""
    return line["prompt"], line["index"], line["question"]


def batched(items, size):
    """Lists of `size` items, the last may be shorter."""
    items = iter(items)
    while batch := list(islice(items, size)):
        yield batch
