"""Measures what ELLA costs against the same run with CLIP, and prints a table.

python benchmarks/run.py --host COMFYUI [--device cuda|cpu] [--quick] [--json FILE]
"""

import argparse
import json
import platform
import sys
import tempfile
from datetime import date
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
import host  # noqa: E402


def measure(device, quick, folder):
    """All rows that this device can give, and the curve of the connector's cost."""
    import connector_cost
    import sampling_cost

    gpu = device == "cuda"
    dtype = torch.float16 if gpu else torch.float32
    rounds = 3 if quick else 9
    ella = host.connector(folder)
    small = host.small_unet(dtype)
    yield from sampling_cost.evaluations(small, ella)
    yield sampling_cost.connector_calls(small, ella)
    yield sampling_cost.python_per_evaluation(small, ella, steps=50 if quick else 200)
    for length in (17, 77, 128):
        yield from connector_cost.schedule(ella, length, 20, rounds, torch.device(device), dtype)

    del small
    model = host.unet(dtype)
    sizes = [(512, 1), (512, 4), (768, 1), (768, 4)] if gpu else [(512 if not quick else 256, 1)]
    for size, batch in sizes:
        steps = 20 if gpu else 4
        yield sampling_cost.added_time(model, ella, size, batch, steps, rounds if gpu else 3)
        if gpu:
            yield sampling_cost.memory(model, ella, size, batch)


def curve(device, quick, folder):
    """Seconds of the connector by prompts, steps and images."""
    import comfy.model_management
    import sampling_cost

    ella = host.connector(folder)
    comfy.model_management.load_models_gpu([ella], force_full_load=True)
    points = []
    for prompts in (1, 4) if quick else (1, 4, 16, 64):
        for steps in (8, 50) if quick else (8, 50, 200):
            seconds = sampling_cost.scaling(None, ella, prompts, steps, 1)
            points.append({"prompts": prompts, "steps": steps, "seconds": seconds})
    return points


def table(rows):
    yield "| measure | against | ratio | min..max | ours | theirs | |"
    yield "|---|---|---|---|---|---|---|"
    for row in rows:
        yield (
            f"| {row.measure} | {row.against} | {row.ratio:.3f} | {row.least:.3f}..{row.greatest:.3f} "
            f"| {row.ours:.4g} {row.unit} | {row.theirs:.4g} {row.unit} | {row.note} |"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", required=True, help="folder of a ComfyUI")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and smaller pictures")
    parser.add_argument("--json", type=Path, help="writes the results there as well")
    options = parser.parse_args()
    host.start(options.host, options.device)

    name = (
        torch.cuda.get_device_name()
        if options.device == "cuda"
        else f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"
    )
    print(f"{name}, torch {torch.__version__}, {date.today()}", flush=True)
    rows = []
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        for row in measure(options.device, options.quick, folder):
            rows.append(row)
            print(list(table([row]))[-1], flush=True)
        points = curve(options.device, options.quick, folder)
    print("\n".join(table(rows)))
    for point in points:
        print(point)
    if options.json:
        results = {"device": name, "torch": torch.__version__, "date": str(date.today()), "curve": points}
        options.json.write_text(json.dumps(results | {"rows": [row.as_dict() for row in rows]}, indent=1))


if __name__ == "__main__":
    main()
