"""What one sees of a training: the bar, the log, TensorBoard."""

from __future__ import annotations

import time

from tqdm import tqdm

from .tensorboard import open_tensorboard

LOG = "log.jsonl"


class Report:
    """Of a run of `options` that has `done` steps; only one process may have one."""

    def __init__(self, run, options, done, progress):
        self.run, self.options = run, options
        self.board = open_tensorboard(run, done) if options.tensorboard else None
        self.bar = tqdm(total=options.steps, initial=done, disable=not progress, unit="step")
        self.losses, self.began = [], time.monotonic()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.bar.close()
        if self.board is not None:
            self.board.close()

    def add(self, step, loss, norm, rate):
        """The numbers of a finished step; every `log_every` of them are a line of the log, with their mean loss."""
        self.losses.append(loss)
        self.bar.update()
        self.bar.set_postfix_str(f"loss {loss:.4f}, rate {rate:.2e}", refresh=False)
        if step % self.options.log_every and step != self.options.steps:
            return
        speed = self.options.batch_size * len(self.losses) / (time.monotonic() - self.began)
        line = {"step": step, "loss": sum(self.losses) / len(self.losses), "learning_rate": rate}
        line |= {"gradient_norm": norm, "pictures_per_second": round(speed, 2)}
        self.run.add_line(LOG, line)
        self.show(line)
        self.losses, self.began = [], time.monotonic()

    def show(self, line):
        """Gives a line's numbers to TensorBoard."""
        if self.board is not None:
            self.board.add(line)

    def pause(self):
        """Leaves the time until now out of the speed: it went into something else than steps."""
        self.losses, self.began = [], time.monotonic()
