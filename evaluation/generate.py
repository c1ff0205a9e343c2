"""python -m evaluation generate: pictures of a suite's prompts, drawn with a workflow on ComfyUI servers."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import io
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from .errors import EvaluationError
from .run_folder import RUN, RunFolder
from .suites import load_suite

IMAGES, SEED, BATCH = 4, 1001, 1


@dataclass(frozen=True)
class Options:
    """Draw the prompts of a suite with a workflow, on one or many ComfyUI servers.

    A run that was stopped goes on with the same command, or with --out and --servers alone.
    """

    out: Path
    """The folder of the run; it is made if it is not there."""
    servers: str = "http://127.0.0.1:8188"
    """Addresses of ComfyUI servers, with commas between them."""
    suite: str | None = None
    """dpg_bench, dsg1k, t2i_compbench, geneval, geneval2 or custom."""
    data: Path | None = None
    """The suite's file, or the folder it is in."""
    workflow: Path | None = None
    """A workflow as ComfyUI saves or exports it; its prompt, seed and number of pictures are replaced."""
    images: int | None = None
    """Pictures of each prompt. (default: 4)"""
    seed: int | None = None
    """Picture i of every prompt is drawn with the seed + i. (default: 1001)"""
    batch: int | None = None
    """Pictures that the workflow draws at a time, from one seed. (default: 1)"""
    prompt_node: tuple[str, ...] = ()
    """Ids of the nodes that take the prompt, or "id.input", where it is not the only text that the sampler reads."""
    seed_node: tuple[str, ...] = ()
    """Ids of the nodes that take the seed, or "id.input", where it is not the samplers' own."""
    save_node: str | None = None
    """Id of the node whose picture counts, where the workflow saves several."""
    escape: bool = True
    """Write ( and ) as \\( and \\), since ComfyUI's text encoders read bare ones as weights."""
    categories: tuple[str, ...] = ()
    """Only these categories of t2i_compbench or tasks of geneval."""
    limit: int = 0
    """Only the first prompts of the suite, to try something out."""
    queue: int = 2
    """Pictures that wait or are drawn on each server at a time."""
    patience: float = 600
    """Seconds without any server after which the command gives up."""

    @property
    def addresses(self):
        """The servers, each once."""
        return list(dict.fromkeys(one.strip().rstrip("/") for one in self.servers.split(",")))

    def check(self):
        """EvaluationError where a value can't be meant."""
        for name, least in (("images", 1), ("batch", 1), ("queue", 1), ("seed", 0), ("limit", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise EvaluationError(f"--{name} is {value}; it must be at least {least}.")
        if bad := [one for one in self.addresses if not one.startswith(("http://", "https://"))]:
            raise EvaluationError(f"--servers holds {bad[0]!r}; an address begins with http:// or https://.")


def run(options):
    """Draws what the run of `options` still lacks."""
    from tqdm import tqdm

    from .server_pool import ServerPool

    options.check()
    folder = resume(options) if (options.out / RUN).exists() else begin(options)
    with folder.lock("manifest"):
        missing = folder.missing(verify=True)
        total = len(folder.wanted())
        with tqdm(total=total, initial=total - len(missing), unit=" pictures", file=sys.stderr) as bar:

            def say(text):
                bar.write(f"evaluation: {text}", file=sys.stderr)

            def keep(job, server, files):
                bar.update(keep_files(folder, job, server, files))

            pool = ServerPool(options.addresses, options.queue, options.patience, say)
            asyncio.run(pool.draw(jobs(folder, missing), keep))
    print(
        f"evaluation: all {total} pictures of {len(folder.suite.prompts)} prompts are in {folder.path}", file=sys.stderr
    )


def resume(options):
    """The run at --out; EvaluationError where what is asked for differs from what it was begun with."""
    folder = RunFolder(options.out)
    asked = {name: getattr(options, name) for name in ("suite", "images", "seed", "batch")}
    asked = {name: value for name, value in {**asked, **chosen(options)}.items() if value not in (None, [])}
    if options.workflow is not None:
        asked["workflow_sha256"] = sha256_of(options.workflow)
    if not options.escape:
        asked["escape"] = False
    suite = folder.suite
    if options.data is not None:
        suite = load_suite(options.suite or suite.name, options.data, options.categories, options.limit)
    return RunFolder.create(options.out, asked, suite)


def begin(options):
    """A new run at --out, once the workflow was understood with the help of a server."""
    from .server_pool import object_info
    from .workflow import Workflow, api_graph, read_workflow
    from .workflow_roles import find_roles

    lacking = [f"--{name}" for name in ("suite", "data", "workflow") if getattr(options, name) is None]
    if lacking:
        raise EvaluationError(f"{options.out} is no run yet; give {' and '.join(lacking)} to begin one.")
    suite = load_suite(options.suite, options.data, options.categories, options.limit)
    for remark in suite.remarks:
        print(f"evaluation: {remark}", file=sys.stderr)
    drawn = read_workflow(options.workflow)
    info = asyncio.run(object_info(options.addresses))
    workflow = Workflow(api_graph(drawn, info), info)
    roles = find_roles(workflow, options.prompt_node, options.seed_node, options.save_node)
    batch = options.batch or BATCH
    if batch > 1 and not roles.batch:
        raise EvaluationError(f"--batch is {batch}, but no batch_size leads to the sampler; leave --batch away.")
    settings = {
        "id": uuid.uuid4().hex,
        "suite": suite.name,
        "data": str(options.data),
        "images": options.images or IMAGES,
        "seed": SEED if options.seed is None else options.seed,
        "batch": batch,
        "escape": options.escape,
        "workflow_file": options.workflow.name,
        "workflow_sha256": sha256_of(options.workflow),
        **chosen(options),
        "roles": dataclasses.asdict(roles),
        "workflow": workflow.pruned(roles.save),
    }
    return RunFolder.create(options.out, settings, suite)


def chosen(options):
    """The nodes that the user named, as run.json keeps them."""
    return {
        "prompt_node": list(options.prompt_node),
        "seed_node": list(options.seed_node),
        "save_node": options.save_node,
    }


def jobs(folder, missing):
    """The Jobs that draw the missing pictures. One draws the pictures k*batch to (k+1)*batch of a prompt."""
    from .server_pool import Job
    from .workflow_roles import Roles, fill

    settings = folder.settings
    roles, texts = Roles(**settings["roles"]), {prompt.id: prompt.text for prompt in folder.suite.prompts}
    firsts = dict.fromkeys((prompt_id, index - index % settings["batch"]) for prompt_id, index in missing)
    for prompt_id, first in firsts:
        count = min(settings["batch"], settings["images"] - first)
        text = escaped(texts[prompt_id]) if settings["escape"] else texts[prompt_id]
        graph = fill(settings["workflow"], roles, text, settings["seed"] + first, count)
        name = str(uuid.uuid5(uuid.UUID(settings["id"]), f"{prompt_id}/{first}"))
        yield Job(name, f"picture {first} of {prompt_id}", graph, roles.save, (prompt_id, first, count))


def escaped(text):
    """A text whose parentheses stand for themselves."""
    return text.replace("(", "\\(").replace(")", "\\)")


def keep_files(folder, job, server, files):
    """Puts a job's pictures into the run and returns how many; EvaluationError where they are more or fewer."""
    prompt_id, first, count = job.tag
    if len(files) != count:
        raise EvaluationError(
            f"the workflow saved {len(files)} pictures where {count} was asked for ({job.name}); a run "
            "with that batch size must make as many in the node that saves."
        )
    for place, data in enumerate(files):
        check_png(data, job.name, server)
        folder.add_picture(prompt_id, first + place, data, folder.settings["seed"] + first, server)
    return count


def check_png(data, name, server):
    """EvaluationError where bytes are no sound PNG file."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            kind = image.format
            image.verify()
    except Exception as error:  # PIL raises whatever a broken file leads it to
        raise EvaluationError(f"{name} came damaged from {server} ({error}); run the same command again.") from None
    if kind != "PNG":
        raise EvaluationError(f"the workflow saves {kind} files; let a Save Image node save PNG instead.")


def sha256_of(path):
    """The hash of a workflow file."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise EvaluationError(f"{path} can't be read ({error.strerror}); give --workflow a workflow file.") from None
