"""The run's numbers for TensorBoard."""

from __future__ import annotations

import logging


def open_tensorboard(run, step):
    """A Board in the run's folder `tensorboard`, or None and a warning where TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        logging.warning("TensorBoard is not installed, so this run writes none; run `pip install .[training]`.")
        return None
    return Board(SummaryWriter(str(run.path / "tensorboard"), purge_step=step + 1))


class Board:
    def __init__(self, writer):
        self.writer = writer

    def add(self, line):
        """The numbers of a line of the log, a curve each."""
        for name, value in line.items():
            if name != "step" and isinstance(value, (int, float)):
                self.writer.add_scalar(name, value, line["step"])

    def close(self):
        self.writer.close()
