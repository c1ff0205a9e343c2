"""The small world's commands; `python -m small_world --help` lists them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ella_core.errors import ELLAError
from evaluation.errors import EvaluationError
from training.errors import TrainingError


@dataclass(frozen=True)
class BaseCommand:
    """Trains the autoencoder and the base; what RUN has already is kept, and the base goes on from its last save."""

    out: Path  # the folder RUN
    autoencoder_seconds: float = 600.0
    base_seconds: float = 2400.0
    scenes: int = 50_000
    device: str | None = None  # cpu or cuda, by default a GPU where there is one

    def run(self) -> None:
        from .base_model import scene_latents, train_autoencoder, train_base
        from .device import chosen_device

        device = chosen_device(self.device)
        self.out.mkdir(parents=True, exist_ok=True)
        autoencoder = train_autoencoder(self.out, self.autoencoder_seconds, device)
        train_base(self.out, scene_latents(self.out, autoencoder, self.scenes), self.base_seconds, device)


@dataclass(frozen=True)
class CheckpointCommand:
    """Writes the checkpoint of a trained base that ComfyUI loads as Stable Diffusion 1.5."""

    base: Path  # the folder RUN
    out: Path  # a file for models/checkpoints

    def run(self) -> None:
        from .base_model import load_autoencoder, load_base
        from .widen import save_checkpoint

        save_checkpoint(self.out, load_base(self.base), load_autoencoder(self.base))


@dataclass(frozen=True)
class StudyCommand:
    """Trains and judges the paper's connectors on a trained base; goes on where it was stopped."""

    base: Path  # the folder RUN
    out: Path
    steps: int = 2500
    seeds: tuple[int, ...] = (0, 1, 2)
    scenes: int = 10_240  # whose captions are read by the language model
    prompts: int = 300
    decoder: bool = False  # also trains with a decoder's text states, which take long to read
    device: str | None = None  # cpu or cuda, by default a GPU where there is one

    def run(self) -> None:
        from .study import study

        study(self.base, self.out, self.steps, self.seeds, self.scenes, self.prompts, self.decoder, self.device)


@dataclass(frozen=True)
class ConnectorCommand:
    """Trains a TSC with more steps than the study's, for the demo, and judges it; goes on where it was stopped."""

    base: Path  # the folder RUN
    out: Path
    steps: int = 20_000
    scenes: int = 22_528  # the first 10,240 with dense captions, the others with typed ones
    start: Path | None = None  # a connector to begin with
    seen: int = 0  # pictures of the curriculum that are left out
    prompts: int = 300
    device: str | None = None  # cpu or cuda, by default a GPU where there is one

    def run(self) -> None:
        from ella_core import load_connector

        from .base_model import load_autoencoder, load_base
        from .demo_connector import CURRICULUM, train_demo_connector
        from .device import chosen_device
        from .scene_data import read_scenes
        from .study import ALL_PROMPTS, DEMO, measure_into, measure_told, tokens_of

        device = chosen_device(self.device)
        base, autoencoder = load_base(self.base).to(device), load_autoencoder(self.base).to(device)
        encoder, data = read_scenes(autoencoder, "minilm", self.out, self.scenes, seed=0, curriculum=CURRICULUM)
        file = train_demo_connector(base, data, self.out, self.steps, self.start, self.seen)
        connector = load_connector(file).to(device).eval().requires_grad_(False)
        results, named = self.out / "results.jsonl", {"cell": DEMO, "seed": 0, "told": None}
        measure_into(results, named, base, autoencoder, tokens_of(connector, encoder), self.prompts, ALL_PROMPTS)
        measure_told(results, named, base, autoencoder, connector, encoder, self.prompts)
        print(file)


@dataclass(frozen=True)
class FiguresCommand:
    """Draws the table and the plots of a study again from its results.jsonl, or of several studies as of one."""

    studies: tyro.conf.Positional[tuple[Path, ...]]  # folders STUDY, or any with their results.jsonl
    out: Path

    def run(self) -> None:
        from .figures import figures

        print(figures(self.studies, self.out), end="")


@dataclass(frozen=True)
class QuestionsCommand:
    """Writes prompts of the small world with their questions, for `python -m evaluation generate --suite custom`."""

    out: Path  # a CSV file
    prompts: int = 300
    held_out: bool = False

    def run(self) -> None:
        from .measure import asked
        from .question_suite import write_questions

        write_questions(self.out, asked(self.prompts, held_out=self.held_out))


@dataclass(frozen=True)
class JudgeCommand:
    """Answers the questions of a run of `python -m evaluation generate` from the shapes in its pictures."""

    run_folder: tyro.conf.Positional[Path]

    def run(self) -> None:
        from .question_suite import judge_run

        print("\n".join(judge_run(self.run_folder)), file=sys.stderr)


@dataclass(frozen=True)
class ExportCommand:
    """Stores a trained base, autoencoder and connector narrow and in float16, for the demo."""

    base: Path  # the folder RUN of the base
    connector: Path  # a connector that was trained on it
    out: Path

    def run(self) -> None:
        from .export import export

        print(f"{export(self.base, self.connector, self.out) / 1e6:.1f} MB in {self.out}", file=sys.stderr)


@dataclass(frozen=True)
class ModelsCommand:
    """Makes the folder of models that ComfyUI draws with, out of what export stored; what is there stays."""

    stored: Path  # what export wrote
    out: Path

    def run(self) -> None:
        from .models_folder import make_models

        make_models(self.stored, self.out)


@dataclass(frozen=True)
class DescribeCommand:
    """Says what pictures show and what of a prompt they get right, as a line of JSON."""

    pictures: tyro.conf.Positional[tuple[Path, ...]]
    prompt: str

    def run(self) -> None:
        import json

        from PIL import Image

        from .description import judgement, outside, shown
        from .judge import shapes_in
        from .prompt_reader import read_prompt

        reading = read_prompt(self.prompt)
        found = [shapes_in(Image.open(path)) for path in self.pictures]
        pictures = [[f"shows {shown(shapes)}", *judgement(reading, shapes)] for shapes in found]
        print(json.dumps({"outside": outside(reading), "pictures": pictures}))


Command = (
    Annotated[BaseCommand, tyro.conf.subcommand("base")]
    | Annotated[CheckpointCommand, tyro.conf.subcommand("checkpoint")]
    | Annotated[StudyCommand, tyro.conf.subcommand("study")]
    | Annotated[ConnectorCommand, tyro.conf.subcommand("connector")]
    | Annotated[FiguresCommand, tyro.conf.subcommand("figures")]
    | Annotated[QuestionsCommand, tyro.conf.subcommand("questions")]
    | Annotated[JudgeCommand, tyro.conf.subcommand("judge")]
    | Annotated[ExportCommand, tyro.conf.subcommand("export")]
    | Annotated[ModelsCommand, tyro.conf.subcommand("models")]
    | Annotated[DescribeCommand, tyro.conf.subcommand("describe")]
)


def main() -> int:
    command = tyro.cli(Command, prog="python -m small_world", description=__doc__)
    try:
        command.run()
    except (ELLAError, EvaluationError, TrainingError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
