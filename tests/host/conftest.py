"""A real ComfyUI in this process, the pack loaded into it as the host loads packs, and small random models."""

import asyncio
import atexit
import importlib
import json
import os
import shutil
import sys
import tempfile
import time
import uuid
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

REPO = Path(__file__).resolve().parents[2]
COMFYUI = os.environ.get("COMFYUI")
if COMFYUI is None:
    raise pytest.UsageError("tests/host needs a ComfyUI; run `bash scripts/test.sh`, which brings one.")
# The host has a top-level nodes.py of its own, so the repository's root must not be on the path.
sys.path[:] = [COMFYUI] + [path for path in sys.path if Path(path or ".").resolve() != REPO]
sys.path.append(str(REPO / "tests/host"))  # what these tests share

# The host decides on its device and its folders when its modules are imported, and test modules import them.
BASE = Path(tempfile.mkdtemp(prefix="ella-host-"))
atexit.register(shutil.rmtree, BASE, ignore_errors=True)
for folder in ("models", "input", "output", "temp", "user", "custom_nodes"):
    (BASE / folder).mkdir()

from comfy.cli_args import args  # noqa: E402

args.cpu = not torch.cuda.is_available()
args.base_directory = str(BASE)
args.disable_api_nodes = True

import random_models  # noqa: E402
from in_process_host import load_by_path  # noqa: E402
from sampling import PROMPT, brute_force  # noqa: E402

plain_core = load_by_path("plain_ella_core", REPO / "ella_core" / "__init__.py")


class Host:
    """The running host: its node classes, the folder of its models and the pack's module."""

    def __init__(self):
        self.models = BASE / "models"
        self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)

        # First, as in the host's main.py: nodes.py puts a folder with a utils.py of its own in front.
        import utils.extra_config  # noqa: F401, I001
        import nodes
        import server

        self.server = server.PromptServer(self.loop)
        self.loop.run_until_complete(nodes.init_extra_nodes(init_custom_nodes=False, init_api_nodes=False))
        assert self.loop.run_until_complete(nodes.load_custom_node(str(REPO), module_parent="custom_nodes"))
        self.node_classes = nodes.NODE_CLASS_MAPPINGS
        self.pack = sys.modules[self.node_classes["LoadELLA"].__module__.rsplit(".nodes.", 1)[0]]

    def run(self, node_id, **inputs):
        """Outputs of one node, called as the executor calls it."""
        cls = self.node_classes[node_id]
        if hasattr(cls, "define_schema"):
            clone = cls.PREPARE_CLASS_CLONE(None)
            if asyncio.iscoroutinefunction(cls.execute):
                output = self.loop.run_until_complete(clone.EXECUTE_NORMALIZED_ASYNC(**inputs))
            else:
                output = clone.EXECUTE_NORMALIZED(**inputs)
            return output.result
        return getattr(cls(), cls.FUNCTION)(**inputs)

    def object_info(self, *node_ids):
        """What the server tells the frontend about these nodes, by its own route."""
        route = next(route for route in self.server.routes if route.path == "/object_info/{node_class}")
        info = {}
        for node_id in node_ids:
            request = SimpleNamespace(match_info={"node_class": node_id})
            info |= json.loads(self.loop.run_until_complete(route.handler(request)).text)
        return info

    def execute(self, prompt):
        """Validates and runs an API prompt as the server does; returns what each output node shows, by node id."""
        import execution

        validation = self.loop.run_until_complete(execution.validate_prompt("test", prompt, None))
        valid, error, outputs, node_errors = validation
        assert valid, (error, node_errors)
        caches = {"cache_type": execution.CacheType.CLASSIC, "cache_args": {"lru": 0, "ram": 0, "ram_inactive": 0}}
        executor = execution.PromptExecutor(self.server, **caches)
        self.loop.run_until_complete(executor.execute_async(prompt, "test", {"client_id": None}, outputs))
        assert executor.success, executor.status_messages
        return executor.history_result["outputs"]

    def core(self, module):
        """A module of the pack's core as the host loaded it, "host.conditioning" for example."""
        return importlib.import_module(f"{self.pack.__name__}.ella_core.{module}")


@pytest.fixture(scope="session")
def host():
    return Host()


@pytest.fixture(scope="session")
def model_files(host):
    """Small models in the host's folders: a checkpoint shaped like SD1.5, a connector of two blocks, a tiny T5."""
    connector = host.core("connectors.tsc")
    random_models.make_checkpoint(str(host.models / "checkpoints/tiny.safetensors"), dtype=torch.float32)
    random_models.make_connector(
        str(host.models / "ella/tiny.safetensors"), connector, depth=2, text_dim=32, dtype=torch.float32
    )
    folder = host.models / "ella_encoder/tiny-t5"
    folder.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_bytes((REPO / "tests/data/t5_overflow" / name).read_bytes())
    tokenizer = Path(COMFYUI) / "comfy/text_encoders/t5_tokenizer/tokenizer.json"
    (folder / "tokenizer.json").write_bytes(tokenizer.read_bytes())
    return host.models


@pytest.fixture(scope="session")
def checkpoint(host, model_files):
    """(MODEL, CLIP, VAE) of the small checkpoint."""
    return host.run("CheckpointLoaderSimple", ckpt_name="tiny.safetensors")


@pytest.fixture(scope="session")
def model(checkpoint):
    return checkpoint[0]


@pytest.fixture(scope="session")
def ella(host, model_files):
    return host.run("LoadELLA", ella_name="tiny.safetensors")[0]


@pytest.fixture(scope="session")
def t5(host, model_files):
    return host.run("LoadELLATextEncoder", text_encoder_name="tiny-t5")[0]


@pytest.fixture(scope="session")
def oracle(model_files):
    """The connector in float64, loaded by the core without a host; tests/unit compares it with the paper's tokens."""
    return plain_core.load_connector(model_files / "ella/tiny.safetensors").double()


@pytest.fixture(scope="session")
def text_states(host, t5):
    """CONDITIONING of text states for a positive and a negative prompt, of different lengths."""
    return tuple(host.run("ELLAT5TextEncode", clip=t5, text=text, max_length=0)[0] for text in (PROMPT, "blurry"))


@pytest.fixture(scope="session")
def clip_conds(host, checkpoint):
    """The same prompts through the checkpoint's CLIP."""
    return tuple(host.run("CLIPTextEncode", clip=checkpoint[1], text=text)[0] for text in (PROMPT, "blurry"))


@pytest.fixture(scope="session")
def applied(host, model, ella, text_states):
    """(MODEL, positive, negative) of Apply ELLA."""
    positive, negative = text_states
    return host.run("ELLAApplyConditioning", model=model, ella=ella, positive=positive, negative=negative)


@pytest.fixture
def prompt_states(text_states):
    """The text states (1, T, D) alone, positive and negative."""
    return tuple(conditioning[0][0] for conditioning in text_states)


@pytest.fixture
def forced(model, oracle, prompt_states):
    """The MODEL without Apply ELLA whose UNet calls the connector anew for the conditionings tagged 1 and 2."""
    return brute_force(model, oracle, *prompt_states)


@pytest.fixture(scope="session", name="plain_core")
def plain_core_module():
    return plain_core


@pytest.fixture(scope="session", name="random_models")
def random_models_module():
    return random_models


@pytest.fixture
def own_encoder(model_files):
    """Name of a text encoder like tiny-t5 whose weights nothing else in this process shares."""
    name = f"own-{uuid.uuid4().hex[:8]}"
    folder = shutil.copytree(model_files / "ella_encoder/tiny-t5", model_files / "ella_encoder" / name)
    os.utime(folder / "model.safetensors", ns=(time.time_ns(),) * 2)
    yield name
    shutil.rmtree(folder)
