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
import host
import import_cost


def sampling_rows(options, folder):
    import sampling_cost

    ella = host.connector(folder)
    small = host.small_unet(dtype_of(options))
    yield from sampling_cost.evaluations(small, ella)
    yield sampling_cost.connector_calls(small, ella)
    yield sampling_cost.images_at_once(small, ella)
    yield sampling_cost.python_per_evaluation(small, ella, steps=50 if options.quick else 200)


def connector_rows(options, folder):
    import connector_cost
    import sampling_cost

    ella = host.connector(folder)
    for length in (17, 77, 128):
        device = torch.device(options.device)
        yield from connector_cost.schedule(ella, length, 20, rounds_of(options), device, dtype_of(options))
    yield sampling_cost.batch_memory(ella, 4, 50 if options.quick else 200, 128)


def run_rows(options, folder):
    """Rows of whole runs with a UNet of Stable Diffusion 1.5's size."""
    import sampling_cost

    gpu = options.device == "cuda"
    ella = host.connector(folder)
    model = host.unet(dtype_of(options))
    sizes = [(512, 1), (512, 4), (768, 1), (768, 4)] if gpu else [(256 if options.quick else 512, 1)]
    for size, batch in sizes:
        # On a CPU 20 steps take minutes, so whole runs are compared over two.
        yield sampling_cost.added_time(model, ella, size, batch, 20 if gpu else 2, rounds_of(options) if gpu else 3)
        if gpu:
            yield sampling_cost.memory(model, ella, size, batch)
    yield sampling_cost.time_in_patch(model, ella, sizes[0][0], 4 if options.quick else 20)


def text_encoder_rows(options, folder):
    import text_encoder_cost

    encoder = text_encoder_cost.make(folder, options.host)
    yield text_encoder_cost.second_load(encoder)
    yield from text_encoder_cost.loading(encoder, rounds_of(options))
    yield from text_encoder_cost.reading(encoder, rounds_of(options), torch.device(options.device))
    yield text_encoder_cost.known_prompt(encoder, Path(folder) / "prompts")


def import_rows(options, folder):
    yield from import_cost.rows(options.host, host.REPO, rounds_of(options))


MOST_ON_CPU = 4000  # prompts x steps of the curve; the next point takes ten minutes on two cores
PARTS = {
    "sampling": sampling_rows,
    "connector": connector_rows,
    "run": run_rows,
    "text_encoder": text_encoder_rows,
    "import": import_rows,
}


def rounds_of(options):
    return 3 if options.quick else 5


def dtype_of(options):
    return torch.float16 if options.device == "cuda" else torch.float32


def curve(options, folder):
    """Seconds of the connector by prompts and steps, and of one timestep where a prompt has 20 in its batch."""
    import comfy.model_management
    import sampling_cost

    ella = host.connector(folder)
    comfy.model_management.load_models_gpu([ella], force_full_load=True)
    sampling_cost.connector_run(ella, 1, 20, 77)()
    slope = sampling_cost.prompts_and_steps(ella, 1, 20) / 20
    points = []
    for prompts in (1, 4) if options.quick else (1, 4, 16, 64):
        for steps in (8, 50) if options.quick else (8, 50, 200):
            if options.device == "cpu" and prompts * steps > MOST_ON_CPU:
                continue
            seconds = sampling_cost.prompts_and_steps(ella, prompts, steps)
            points.append({"prompts": prompts, "steps": steps, "seconds": seconds})
            print(points[-1], flush=True)
    return {"slope": slope, "points": points}


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
    parts = [*PARTS, "curve"]
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts, help="all, unless some are named")
    parser.add_argument("--json", type=Path, help="writes the results there as well")
    options = parser.parse_args()
    options.host = str(Path(options.host).resolve())
    host.start(options.host, options.device)

    name = (
        torch.cuda.get_device_name()
        if options.device == "cuda"
        else f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"
    )
    print(f"{name}, torch {torch.__version__}, {date.today()}", flush=True)
    rows = []
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        for part in options.parts:
            for row in PARTS[part](options, folder) if part in PARTS else ():
                rows.append(row)
                print(list(table([row]))[-1], flush=True)
        points = curve(options, folder) if "curve" in options.parts else None
    print("\n".join(table(rows)))
    if options.json:
        results = {"device": name, "torch": torch.__version__, "date": str(date.today()), "curve": points}
        options.json.write_text(json.dumps(results | {"rows": [row.as_dict() for row in rows]}, indent=1))


if __name__ == "__main__":
    main()
