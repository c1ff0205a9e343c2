"""Draws a picture with ELLA in a ComfyUI server of its own; demo.sh starts it with COMFYUI in the environment.

Progress and remarks go to stderr. The last line on stdout is the path of the picture, or with --serve the address.
"""

import argparse
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

REPO = Path(__file__).resolve().parents[1]
COMFYUI = os.environ["COMFYUI"]
WORKFLOW = REPO / "workflows/ELLA text to image.json"
RANDOM_MODELS = REPO / ".host/demo-models"
KINDS = {
    "CheckpointLoaderSimple": "a Stable Diffusion 1.5 checkpoint (folder checkpoints)",
    "LoadELLA": "ELLA's connector (folder ella)",
    "LoadELLATextEncoder": "ELLA's text encoder (folder text_encoders or ella_encoder)",
}
MODEL_FOLDERS = ("checkpoints", "ella", "ella_encoder", "text_encoders")
# ComfyUI's main.py, ended when the pipe on its standard input closes: whatever ends the demo closes it.
SERVER = """
import os, runpy, sys, threading
threading.Thread(target=lambda: (os.read(0, 1), os._exit(1)), daemon=True).start()
sys.path[0] = os.getcwd()
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class DemoError(Exception):
    """What stopped the demo, in a sentence."""


def say(text):
    print(f"demo: {text}", file=sys.stderr, flush=True)


def import_host():
    """Makes ComfyUI's modules importable here, on the CPU, and the pack's core as `ella_core`."""
    # The repository's root stays off the path: its nodes package would hide the host's nodes.py.
    sys.path.insert(0, COMFYUI)
    from comfy.cli_args import args

    args.cpu = True
    spec = importlib.util.spec_from_file_location("ella_core", REPO / "ella_core/__init__.py")
    sys.modules["ella_core"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["ella_core"])


# ---- models


def choose_models(workflow, directory):
    """(file name for each loader node, model folders that the server gets beside its own, None where it needs none)."""
    import folder_paths
    from utils.extra_config import load_extra_path_config

    from ella_core.host.model_folders import EXTENSIONS, register_model_folders

    wanted = {node["type"]: node["properties"]["models"][0] for node in workflow["nodes"] if node["type"] in KINDS}
    if directory is not None:
        for folder in MODEL_FOLDERS:
            extensions = EXTENSIONS if folder == "ella" else folder_paths.supported_pt_extensions
            folder_paths.folder_names_and_paths[folder] = ([os.path.join(directory, folder)], extensions)
        return choose_from(directory, wanted), directory

    config = os.path.join(COMFYUI, "extra_model_paths.yaml")
    if os.path.isfile(config):
        load_extra_path_config(config)
    register_model_folders()
    chosen = {kind: by_name(names, wanted[kind]["name"]) for kind, names in listed_names().items()}
    if None not in chosen.values():
        say_chosen(chosen)
        return chosen, None

    make_random_models(wanted.values())
    say("ComfyUI has no models for ELLA yet, so small ones of random weights are used:")
    say("the picture shows that the machinery works, not what ELLA draws. The real files are at")
    for model in wanted.values():
        say(f"  {model['url']}")
        say(f"    which goes to {os.path.join(folder_paths.models_dir, model['directory'], model['name'])}")
    return {kind: model["name"] for kind, model in wanted.items()}, str(RANDOM_MODELS)


def listed_names():
    """The names that each loader node would offer, by the host's present model folders."""
    import folder_paths

    from ella_core.host.model_folders import connector_names, encoder_paths

    return {
        "CheckpointLoaderSimple": folder_paths.get_filename_list("checkpoints"),
        "LoadELLA": connector_names(),
        "LoadELLATextEncoder": list(encoder_paths()),
    }


def by_name(names, wanted):
    """The workflow's own name or, for a text encoder, that of the folder it comes from; None without either."""
    return next((name for name in (wanted, wanted.removesuffix("_model.safetensors")) if name in names), None)


def choose_from(directory, wanted):
    """A file of `directory` for each loader node: the workflow's where it is there, else the first."""
    names = listed_names()
    missing = [KINDS[kind] for kind in wanted if not names[kind]]
    if missing:
        raise DemoError(
            f"{directory} lacks {' and '.join(missing)}; give a folder that has all three, or leave --models away."
        )
    chosen = {kind: by_name(names[kind], model["name"]) or names[kind][0] for kind, model in wanted.items()}
    say_chosen(chosen)
    return chosen


def say_chosen(models):
    for kind, name in models.items():
        say(f"{KINDS[kind]}: {name}")


def make_random_models(models):
    if all((RANDOM_MODELS / model["directory"] / model["name"]).is_file() for model in models):
        return
    command = [sys.executable, str(REPO / "scripts/random_models.py"), COMFYUI, str(RANDOM_MODELS)]
    if subprocess.run(command, stdout=sys.stderr).returncode:
        raise DemoError("The random models could not be made; the lines above say why.")


# ---- server


@contextmanager
def running_server(run_folder, log, models_directory):
    """Starts ComfyUI, yields its process and its address once it answers, and stops it however the block is left."""
    import torch

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", SERVER, "main.py", "--port", str(port)]
    # Nothing of a ComfyUI that the user has running beside it is touched.
    command += ["--temp-directory", str(run_folder), "--database-url", "sqlite:///:memory:"]
    if not torch.cuda.is_available():
        command.append("--cpu")
    if models_directory is not None:
        folders = {folder: os.path.join(models_directory, folder) for folder in MODEL_FOLDERS}
        config = run_folder / "model_paths.yaml"
        config.write_text(json.dumps({"demo": {"is_default": True} | folders}))  # JSON is YAML
        command += ["--extra-model-paths-config", str(config)]

    say("starting ComfyUI")
    with open(log, "wb") as output:
        # A session of its own, so that Ctrl-C reaches the demo alone, which then ends the server.
        process = subprocess.Popen(
            command, cwd=COMFYUI, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        address = f"http://127.0.0.1:{port}"
        while not answers(address):
            if process.poll() is not None:
                raise DemoError("ComfyUI ended before it was ready.")
            time.sleep(0.2)
        yield process, address
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def answers(address):
    try:
        request(address + "/queue")
    except OSError:
        return False
    return True


def request(url, data=None):
    """The JSON that the server answers, past any proxy of the environment."""
    body = None if data is None else json.dumps(data).encode()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(url, body, {"Content-Type": "application/json"})) as response:
        return json.load(response)


# ---- workflow


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


def step_timesteps(prompt):
    """The training timestep of each step of the KSampler on Stable Diffusion 1.5, by the host's own sigmas."""
    import comfy.model_sampling
    import comfy.samplers

    from ella_core.host.timesteps import timesteps_of

    inputs = next(node["inputs"] for node in prompt.values() if node["class_type"] == "KSampler")
    sampling = comfy.model_sampling.ModelSamplingDiscrete()
    model = SimpleNamespace(get_model_object=lambda name: sampling)
    settings = (inputs[name] for name in ("sampler_name", "scheduler", "denoise"))
    sampler = comfy.samplers.KSampler(model, inputs["steps"], "cpu", *settings)
    return timesteps_of(sampling, sampler.sigmas[:-1])


def draw(address, workflow):
    """Queues the workflow and follows it; returns the path of the picture."""
    try:
        import websocket
        from comfy_cli.workflow_to_api import convert_ui_to_api
    except ImportError as error:
        raise DemoError(
            f"The demo needs the package {error.name}, which {sys.executable} lacks; "
            f"install it with: {sys.executable} -m pip install -r {REPO / 'tests/requirements.txt'}"
        ) from None
    object_info = request(address + "/object_info")
    if "ELLAApplyConditioning" not in object_info:
        raise DemoError("ComfyUI could not load the pack.")
    prompt = convert_ui_to_api(workflow, object_info)
    connection = websocket.create_connection(
        address.replace("http", "ws") + "/ws?clientId=demo", http_no_proxy=["127.0.0.1"]
    )
    job = {"prompt": prompt, "client_id": "demo", "extra_data": {"extra_pnginfo": {"workflow": workflow}}}
    try:
        prompt_id = request(address + "/prompt", job)["prompt_id"]
    except urllib.error.HTTPError as error:
        raise DemoError(refusal(prompt, json.load(error))) from None
    try:
        return follow(connection, prompt_id, prompt)
    except (websocket.WebSocketException, ConnectionError):
        raise DemoError("ComfyUI ended in the middle of the picture.") from None


def refusal(prompt, answer):
    """The server's validation errors in a sentence."""
    problems = [
        f"{title(prompt, node)}: {problem(error)}"
        for node, found in answer.get("node_errors", {}).items()
        for error in found["errors"]
    ]
    return f"ComfyUI refused the workflow: {'; '.join(problems) or answer['error']['message']}"


def problem(error):
    """One validation error; a node's own sentence, which comes as "input - sentence", stands alone."""
    if error["type"] == "custom_validation_failed":
        return error["details"].partition(" - ")[2] or error["message"]
    return f"{error['message']} ({error['details']})"


def follow(connection, prompt_id, prompt):
    """Shows progress until the picture is saved; returns its path."""
    import folder_paths

    picture = None
    timesteps = step_timesteps(prompt)
    while True:
        message = connection.recv()
        if isinstance(message, bytes):  # a preview
            continue
        event = json.loads(message)
        kind, data = event["type"], event["data"]
        if data.get("prompt_id") != prompt_id:
            continue
        if kind == "executing" and data["node"] is not None:
            say(title(prompt, data["node"]))
        elif kind == "progress" and prompt[data["node"]]["class_type"] == "KSampler":
            step = data["value"]
            say(f"  step {step:2}/{data['max']}  timestep {timesteps[step - 1]:3.0f}")
        elif kind == "executed" and "images" in data["output"]:
            image = data["output"]["images"][0]
            picture = os.path.join(folder_paths.get_output_directory(), image["subfolder"], image["filename"])
        elif kind == "execution_error":
            raise DemoError(f"{title(prompt, data['node_id'])}: {data['exception_message'].strip()}")
        elif kind == "execution_interrupted":
            raise DemoError("The picture was interrupted in the browser.")
        elif kind == "execution_success":
            return picture


def title(prompt, node):
    return prompt[node]["_meta"]["title"]


# ---- command


def stop(number, frame):
    sys.exit(128 + number)


def run(options, run_folder, log):
    workflow = json.loads(WORKFLOW.read_text(encoding="utf-8"))
    import_host()
    models, models_directory = choose_models(workflow, options.models)
    fill_in(workflow, models, options.prompt)
    started = time.monotonic()
    with running_server(run_folder, log, models_directory) as (process, address):
        if options.serve:
            say("the workflows are in Templates, under ELLA; Ctrl-C ends ComfyUI")
            print(address, flush=True)
            process.wait()
            raise DemoError("ComfyUI ended by itself.")
        picture = draw(address, workflow)
    say(f"{time.monotonic() - started:.0f} s")
    print(picture)


def main():
    parser = argparse.ArgumentParser(prog="demo.sh", description=__doc__.splitlines()[0])
    parser.add_argument("prompt", nargs="?", help="what to draw; without it, the workflow's own prompt")
    parser.add_argument(
        "--models", metavar="DIR", type=os.path.abspath, help=f"a folder with {', '.join(KINDS.values())}"
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
    except DemoError as error:
        say(error)
        if log.exists():
            say(f"the server's log is {log.replace(hosts / 'demo-server.log')}")
        sys.exit(1)
    finally:
        shutil.rmtree(run_folder)


if __name__ == "__main__":
    main()
