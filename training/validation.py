"""The loss on pictures that are not trained on, by band of timesteps, and its plot."""

from __future__ import annotations

import itertools

import torch

from .draws import TIMESTEPS, draw
from .loss import Conditioner, losses

BANDS = 10
LINES, PLOT = "validation.jsonl", "validation.png"


class Validation:
    """Measures a connector on the first `size` pictures of a data source, always with the same noise.

    The pictures take the bands of timesteps in turn, so that each band has as many. No prompt is dropped.
    """

    def __init__(self, base, data, size, batch_size, seed=1001):
        self.base, self.seed = base, seed
        count = -(-size // batch_size)
        self.batches = list(itertools.islice(data.batches(batch_size, 0, 1), count))
        self.empty_states = data.empty_states
        self.plot = True

    def __call__(self, connector, step, run):
        """Adds a line to the run's validation.jsonl, draws its plot anew, returns the line's numbers by name."""
        bands = self.measure(connector)
        loss = sum(bands) / len(bands)
        run.add_line(LINES, {"step": step, "loss": loss, "bands": bands})
        if self.plot:
            plot(run.lines(LINES), run.path / PLOT)
        return {"validation_loss": loss} | {f"validation_band_{band}": one for band, one in enumerate(bands)}

    @torch.no_grad()
    def measure(self, connector):
        """The mean loss of each band, from the least noise to the most."""
        device = next(connector.parameters()).device
        was_training = connector.training
        conditioner = Conditioner(connector).eval()
        sums, counts = torch.zeros(BANDS, dtype=torch.float64), torch.zeros(BANDS)
        for number, batch in enumerate(self.batches):
            draws = draw(self.seed, 0, number * len(batch), batch.latents.shape)
            of_row = (torch.arange(len(batch)) + number * len(batch)) % BANDS
            within = draws.timesteps % (TIMESTEPS // BANDS)
            draws = type(draws)(of_row * (TIMESTEPS // BANDS) + within, draws.noise, draws.dropped)
            found = losses(self.base, conditioner, batch.to(device), draws, self.empty_states)
            sums.index_add_(0, of_row, found.double().cpu())
            counts += torch.bincount(of_row, minlength=BANDS)
        connector.train(was_training)
        return [float(total / count) for total, count in zip(sums, counts) if count]


def plot(lines, path):
    """A curve for each validation, the loss over the timestep, the newest one darkest; PNG at `path`."""
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    shown = lines if len(lines) <= 8 else [lines[round(one * (len(lines) - 1) / 7)] for one in range(8)]
    colours = matplotlib.colormaps["viridis_r"]
    for number, line in enumerate(shown):
        width = TIMESTEPS / len(line["bands"])
        middles = [(band + 0.5) * width for band in range(len(line["bands"]))]
        colour = colours(0.1 + 0.9 * (number + 1) / len(shown))
        axes.plot(middles, line["bands"], marker="o", markersize=3, color=colour, label=f"step {line['step']}")
    axes.set(xlabel="timestep", ylabel="validation loss", xlim=(0, TIMESTEPS), yscale="log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:.3g}")
    axes.grid(alpha=0.3, which="both")
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=120)
