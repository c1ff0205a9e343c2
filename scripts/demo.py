"""Draws a picture with ELLA in a ComfyUI server of its own; demo.sh starts it with COMFYUI in the environment.

Progress and remarks go to stderr. The last line on stdout is the path of the picture, or with --serve the address.
"""

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import demo_small_world
from demo_models import FOLDERS, KINDS, ModelError, choose_models
from in_process_host import REPO, import_host
from step_sigmas import model_sampling_of, step_sigmas

COMFYUI = os.environ["COMFYUI"]
WORKFLOW = REPO / "workflows/ELLA text to image.json"
try:
    import comfy_cli  # noqa: F401 (the server's api_prompt needs it)
    from comfyui_server import ServerError, device_flags, saved_files, started, title
except ImportError as error:
    sys.exit(
        f"demo: The demo needs the package {error.name}, which {sys.executable} lacks; "
        f"install it with: {sys.executable} -m pip install -r {REPO / 'tests/requirements.txt'}"
    )


def say(text):
    print(f"demo: {text}", file=sys.stderr, flush=True)


def fill_in(workflow, models, prompt):
    """Writes the models' names and the prompt into the graph, as an artist would."""
    for node in workflow["nodes"]:
        if node["type"] in models:
            node["widgets_values"][0] = models[node["type"]]
    if prompt is not None:
        apply = next(node for node in workflow["nodes"] if node["type"] == "ELLAApplyConditioning")
        link = next(slot["link"] for slot in apply["inputs"] if slot["name"] == "positive")
        source = next(origin for number, origin, *_ in workflow["links"] if number == link)
        next(node for node in workflow["nodes"] if node["id"] == source)["widgets_values"][0] = prompt


def server_flags(run_folder, models_directory):
    """Flags that touch nothing of a ComfyUI that the user has running beside the demo."""
    flags = ["--temp-directory", str(run_folder), *device_flags()]
    if models_directory is not None:
        folders = {folder: os.path.join(models_directory, folder) for folder in FOLDERS}
        config = run_folder / "model_paths.yaml"
        config.write_text(json.dumps({"demo": {"is_default": True} | folders}))  # JSON is YAML
        flags += ["--extra-model-paths-config", str(config)]
    return flags


def api_prompt(server, workflow):
    """The API prompt of the workflow, once the server has the pack."""
    if "ELLAApplyConditioning" not in server.object_info():
        raise ServerError("ComfyUI could not load the pack.")
    return server.api_prompt(workflow)


def draw(server, prompt, workflow, checkpoint):
    """Queues the API prompt of the workflow and shows its progress; returns the path of the picture."""
    import comfy.utils

    from ella_core.host.timesteps import timesteps_of

    settings = next(node["inputs"] for node in prompt.values() if node["class_type"] == "KSampler")
    sampling = model_sampling_of(comfy.utils.load_torch_file(checkpoint))
    if sampling is None:
        raise ModelError(f"{checkpoint} is no checkpoint that ComfyUI knows; choose a Stable Diffusion 1.5 checkpoint.")
    timesteps = timesteps_of(sampling, step_sigmas(sampling, **settings))
    for kind, data in server.follow(prompt, workflow):
        if kind == "executing" and data["node"] is not None:
            say(title(prompt, data["node"]))
        elif kind == "progress" and prompt[data["node"]]["class_type"] == "KSampler":
            step = data["value"]
            say(f"  step {step:2}/{data['max']}  timestep {timesteps[step - 1]:3.0f}")
        elif kind == "executed" and (files := saved_files({"outputs": {data["node"]: data["output"]}})):
            picture = server.path_of(files[0])
    return picture


def run(options, run_folder, log):
    workflow = json.loads(WORKFLOW.read_text(encoding="utf-8"))
    core = import_host(COMFYUI)
    models, models_directory = choose_models(workflow, options.models, COMFYUI, say, options.small_world)
    is_small_world = models_directory == str(demo_small_world.MODELS)
    if is_small_world:
        options.prompt = options.prompt or demo_small_world.PROMPT
        demo_small_world.fill_in(workflow, demo_small_world.text_encoder_facts(core))
    fill_in(workflow, models, options.prompt)
    import folder_paths

    checkpoint = folder_paths.get_full_path_or_raise("checkpoints", models["CheckpointLoaderSimple"])
    begun = time.monotonic()
    say("starting ComfyUI")
    with started(COMFYUI, *server_flags(run_folder, models_directory), log=log) as server:
        if options.serve:
            say("the workflows are in Templates, under ELLA; Ctrl-C ends ComfyUI")
            if is_small_world:
                say(f"choose {' and '.join(dict.fromkeys(models.values()))} in the loaders, and 64 x 64 pixels")
            print(server.address, flush=True)
            server.process.wait()
            raise ServerError("ComfyUI ended by itself.")
        prompt = api_prompt(server, workflow)
        picture = draw(server, prompt, workflow, checkpoint)
        if is_small_world:
            say("now the same seed through the checkpoint's own text encoder")
            pictures = picture, draw(server, demo_small_world.own_encoder(prompt), None, checkpoint)
            demo_small_world.describe(pictures, options.prompt, COMFYUI, say)
            picture = demo_small_world.side_by_side(pictures, picture.with_name(f"{picture.stem}side_by_side.png"))
    say(f"{time.monotonic() - begun:.0f} s")
    print(picture)


def stop(number, frame):
    sys.exit(128 + number)


def main():
    parser = argparse.ArgumentParser(prog="demo.sh", description=__doc__.splitlines()[0])
    parser.add_argument("prompt", nargs="?", help="what to draw; without it, the workflow's own prompt")
    parser.add_argument(
        "--models", metavar="DIR", type=os.path.abspath, help=f"a folder with {', '.join(KINDS.values())}"
    )
    parser.add_argument(
        "--small-world",
        metavar="DIR",
        help="draw the small world of this folder, which python -m small_world export wrote",
    )
    parser.add_argument("--serve", action="store_true", help="keep ComfyUI running and print its address")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)

    hosts = REPO / ".host"
    hosts.mkdir(exist_ok=True)
    run_folder = Path(tempfile.mkdtemp(prefix="demo-", dir=hosts))
    log = run_folder / "server.log"
    try:
        run(options, run_folder, log)
    except (ModelError, ServerError) as error:
        say(error)
        if log.exists():
            say(f"the server's log is {log.replace(hosts / 'demo-server.log')}")
        sys.exit(1)
    finally:
        shutil.rmtree(run_folder)


if __name__ == "__main__":
    main()
