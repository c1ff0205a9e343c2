"""A real ComfyUI server: started on a free port, asked over HTTP and websocket, stopped.

    with started(comfyui, "--cpu") as server:
        history = server.run(server.api_prompt(workflow))
        picture = server.view(saved_files(history)[0])

`ComfyUIServer("http://127.0.0.1:8188")` asks one that already runs.
"""

import json
import shutil
import socket
import subprocess
import sys
import time
import uuid
from contextlib import closing, contextmanager
from copy import deepcopy
from pathlib import Path

import requests
import websocket

# ComfyUI's main.py, ended when the pipe on its standard input closes, which the end of whoever started it does as well.
MAIN = """
import os, runpy, sys, threading
threading.Thread(target=lambda: (os.read(0, 1), os._exit(1)), daemon=True).start()
sys.path[0] = os.getcwd()
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
BASE_FOLDERS = ("models", "input", "output", "temp", "user", "custom_nodes")
LOG_LINES = 20


class ServerError(Exception):
    """What the server refused, what failed in a run, or how the server ended, in a sentence."""


class ComfyUIServer:
    """A running ComfyUI at an address such as http://127.0.0.1:8188."""

    def __init__(self, address):
        self.address = address.rstrip("/")
        self._http = requests.Session()
        self._http.trust_env = False  # no proxy of the environment stands before a server of one's own

    def get(self, path):
        """The JSON that a GET of `path` ("/queue" for example) answers; None where the answer is empty."""
        return _json(self._ask("GET", path))

    def post(self, path, body):
        """The JSON that a POST of the JSON `body` answers; None where the answer is empty."""
        return _json(self._ask("POST", path, json=body))

    def object_info(self, *node_ids):
        """What the server tells of its nodes, by node id; all of them where none is named."""
        if not node_ids:
            return self.get("/object_info")
        return {name: info for node_id in node_ids for name, info in self.get(f"/object_info/{node_id}").items()}

    def api_prompt(self, workflow):
        """The API prompt of a workflow as the editor saves it."""
        from comfy_cli.workflow_to_api import convert_ui_to_api

        return convert_ui_to_api(deepcopy(workflow), self.object_info())

    def upload(self, path, name=None, subfolder=""):
        """Puts a picture into the server's input folder, over one of the same name; returns what LoadImage calls it."""
        with open(path, "rb") as file:
            answer = self._ask(
                "POST",
                "/upload/image",
                files={"image": (name or Path(path).name, file)},
                data={"subfolder": subfolder, "overwrite": "true"},
            ).json()
        return "/".join(part for part in (answer["subfolder"], answer["name"]) if part)

    def view(self, file):
        """The bytes of a file that a run saved; `file` is one of `saved_files`."""
        query = {key: file[key] for key in ("filename", "subfolder", "type")}
        return self._ask("GET", "/view", params=query).content

    def queue(self, prompt, workflow=None, client_id=None):
        """Queues an API prompt and returns its id; `workflow` is what its pictures will carry for the editor.

        Raises ServerError with the server's reasons where it refuses the prompt.
        """
        job = {"prompt": prompt}
        if workflow is not None:
            job["extra_data"] = {"extra_pnginfo": {"workflow": workflow}}
        if client_id is not None:
            job["client_id"] = client_id
        answer = self._send("POST", "/prompt", json=job)
        if answer.status_code == 400:
            raise ServerError(_refusal(prompt, answer.json()))
        return _checked(answer).json()["prompt_id"]

    def history(self, prompt_id):
        """The history of a prompt once it ended; None before."""
        return self.get(f"/history/{prompt_id}").get(prompt_id)

    def finished(self, prompt_id, seconds=600):
        """The history of a queued prompt once it ended, whether well or not. Raises ServerError after `seconds`."""
        deadline = time.monotonic() + seconds
        while (history := self.history(prompt_id)) is None:
            if time.monotonic() > deadline:
                raise ServerError(f"The run did not end within {seconds} s.{self.log_tail()}")
            time.sleep(0.1)
        return history

    def run(self, prompt, workflow=None, seconds=600):
        """Queues an API prompt and returns its history. Raises ServerError where it is refused, fails or is late."""
        history = self.finished(self.queue(prompt, workflow), seconds)
        for kind, data in history["status"]["messages"]:
            _check(kind, data, prompt)
        return history

    def follow(self, prompt, workflow=None):
        """Queues an API prompt and yields its messages as (kind, data) until it succeeded. Raises ServerError as `run`.

        The kinds and their data are ComfyUI's: "executing" a node, "progress" of it, "executed" with its output.
        """
        client_id = uuid.uuid4().hex
        address = f"{self.address.replace('http', 'ws', 1)}/ws?clientId={client_id}"
        try:
            with closing(websocket.create_connection(address, http_no_proxy=["*"])) as connection:
                prompt_id = self.queue(prompt, workflow, client_id)
                while True:
                    message = connection.recv()
                    event = json.loads(message) if isinstance(message, str) else None  # bytes are a preview
                    if event is None or event["data"].get("prompt_id") != prompt_id:
                        continue
                    _check(event["type"], event["data"], prompt)
                    yield event["type"], event["data"]
                    if event["type"] == "execution_success":
                        return
        except (websocket.WebSocketException, ConnectionError):
            raise self._ended() from None

    def log_tail(self):
        """The end of the server's log to follow a sentence, where we started it."""
        return ""

    def _ask(self, method, path, **request):
        return _checked(self._send(method, path, **request))

    def _send(self, method, path, **request):
        try:
            return self._http.request(method, self.address + path, **request)
        except requests.ConnectionError:
            raise self._ended() from None

    def _ended(self):
        return ServerError(f"ComfyUI at {self.address} does not answer; it ended or was never there.{self.log_tail()}")


class StartedServer(ComfyUIServer):
    """A ComfyUI that this process started: `process`, `log` (a path) and `base`, the folder of its input and output."""

    def __init__(self, address, process, base, log):
        super().__init__(address)
        self.process, self.base, self.log = process, Path(base), Path(log)

    def path_of(self, file):
        """Where a file lies that a run saved; `file` is one of `saved_files`."""
        return self.base / file["type"] / file["subfolder"] / file["filename"]

    def picture(self, history):
        """Where the one picture of a run lies."""
        (file,) = saved_files(history)
        return self.path_of(file)

    def log_tail(self):
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
        return "".join(["\nIts log ends with", *(f"\n  {line}" for line in lines)])

    def wait_until_up(self, seconds):
        """Returns once the server answers. Raises ServerError where it ended before, or after `seconds`."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                self._http.get(self.address + "/queue", timeout=5)
                return
            except requests.RequestException:
                if self.process.poll() is not None:
                    raise ServerError(f"ComfyUI ended before it was ready.{self.log_tail()}") from None
                if time.monotonic() > deadline:
                    raise ServerError(f"ComfyUI was not ready within {seconds} s.{self.log_tail()}") from None
            time.sleep(0.2)

    def stop(self):
        """Ends the process and returns when it is gone."""
        self.process.terminate()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdin.close()


@contextmanager
def started(comfyui, *flags, base=None, log=None, python=sys.executable, environment=None, seconds=300):
    """Starts the ComfyUI in the folder `comfyui`, yields it once it answers, and stops it however the block is left.

    `base` is the folder of its models, input, output and custom nodes (`make_base` makes one), ComfyUI's own folder
    without it; `log` the file that takes its output, `server.log` in `base` without it; `flags` are those of its
    main.py; `environment` replaces this process's; `seconds` is how long it may take to start.
    Raises ServerError, with the end of the log, where it ends before it answers.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [python, "-c", MAIN, "main.py", "--port", str(port), "--database-url", "sqlite:///:memory:", *flags]
    if base is not None:
        command += ["--base-directory", str(base)]
    base = Path(base or comfyui)
    log = Path(log or base / "server.log")
    with open(log, "wb") as output:
        streams = {"stdin": subprocess.PIPE, "stdout": output, "stderr": subprocess.STDOUT}
        # A session of its own, so that Ctrl-C reaches this process alone, which then ends the server.
        process = subprocess.Popen(command, cwd=comfyui, env=environment, start_new_session=True, **streams)
    server = StartedServer(f"http://127.0.0.1:{port}", process, base, log)
    try:
        server.wait_until_up(seconds)
        yield server
    finally:
        server.stop()


def make_base(base, comfyui, packs=(), models=None):
    """Makes a base directory for a server: empty folders, ComfyUI's example picture, and links.

    `packs` are {name: folder} of custom nodes; `models` is a folder like ComfyUI's own, linked in its place.
    """
    base = Path(base)
    for folder in BASE_FOLDERS:
        if folder != "models" or models is None:
            (base / folder).mkdir(parents=True, exist_ok=True)
    shutil.copy(Path(comfyui) / "input/example.png", base / "input")
    if models is not None:
        (base / "models").symlink_to(Path(models).resolve(), target_is_directory=True)
    for name, folder in dict(packs).items():
        (base / "custom_nodes" / name).symlink_to(Path(folder).resolve(), target_is_directory=True)


def device_flags():
    """The flags that ComfyUI needs on this machine: --cpu where torch finds no GPU."""
    import torch

    return () if torch.cuda.is_available() else ("--cpu",)


def saved_files(history, kind="images"):
    """What the nodes of a run showed or saved, {"filename", "subfolder", "type"} each, in the order of the nodes."""
    return [file for output in history["outputs"].values() for file in output.get(kind, ())]


def title(prompt, node_id):
    """What a node of an API prompt is called."""
    node = prompt.get(node_id, {})
    return node.get("_meta", {}).get("title") or node.get("class_type", f"node {node_id}")


def _json(answer):
    return answer.json() if answer.content else None


def _checked(answer):
    if not answer.ok:
        raise ServerError(f"ComfyUI answered {answer.status_code} to {answer.request.path_url}: {answer.text[:300]}")
    return answer


def _check(kind, data, prompt):
    """Raises ServerError where a message of a run says that it failed."""
    if kind == "execution_error":
        raise ServerError(f"{title(prompt, data['node_id'])}: {data['exception_message'].strip()}")
    if kind == "execution_interrupted":
        raise ServerError("The run was interrupted.")


def _refusal(prompt, answer):
    """The server's validation errors in a sentence."""
    problems = [
        f"{title(prompt, node)}: {_problem(error)}"
        for node, found in (answer.get("node_errors") or {}).items()
        for error in found["errors"]
    ]
    return f"ComfyUI refused the workflow: {'; '.join(problems) or answer['error']['message']}"


def _problem(error):
    """One validation error; a node's own sentence, which comes as "input - sentence", stands alone."""
    if error["type"] == "custom_validation_failed":
        return error["details"].partition(" - ")[2] or error["message"]
    return f"{error['message']} ({error['details']})"
