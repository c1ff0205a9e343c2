"""Trains the connector that the demo draws with: a TSC as the study has it, with more steps.

python -m small_world connector --base BASE --out RUN --steps 20000
"""

from dataclasses import replace
from pathlib import Path

from ella_core import load_connector
from training.loop import train
from training.run_folder import CONNECTOR_EMA

from .base_model import Base
from .cells import BATCH, Cell, NarrowBase, new_cell_connector, options_of
from .scene_data import SceneData

# As `scene_data.CURRICULUM`, and longer with two shapes, where most captions are typed ones of how they stand to one
# another.
CURRICULUM = ((16_000, 1), (48_000, 2), (96_000, 3))


def train_demo_connector(
    base: Base, data: SceneData, out: Path, steps: int, start: Path | None = None, seen: int = 0
) -> Path:
    """Trains on what `data` gives, gone on with where it was stopped, and returns the file of the moving average.

    With the file of a connector as `start` the training begins with its weights; of the curriculum the first `seen`
    pictures are left out.
    """
    cell = Cell("tsc", 6, steps, data.seed)
    connector = new_cell_connector(cell, data.text_states.shape[-1])
    if start is not None:
        connector.load_state_dict(load_connector(start).state_dict())
    data.load_state_dict({"given": seen // BATCH})
    options = replace(options_of(cell, BATCH), ema_decay=0.995)
    run = train(options, NarrowBase(base), connector, data, out / cell.name)
    return run.path / CONNECTOR_EMA
