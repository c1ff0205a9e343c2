"""What the old pack told the connector of the schedule, compared with what the samplers run.

The old pack gave each of its N conditionings an N-th of the sampling, counted in timesteps. Where the schedule's own
timesteps are not spread like that, the sampler met tokens of other timesteps than its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from .core_nodes import ADVANCED_SAMPLER, CUSTOM_SAMPLER, SAMPLER, SCHEDULER
from .old_nodes import SCHEDULE
from .quote import quote
from .wires import Output

TRAINING_STEPS = 1000


@dataclass(frozen=True)
class Schedule:
    """A scheduler's name, its number of steps, and how much of the noise is taken out."""

    scheduler: str
    steps: int
    denoise: float

    def __str__(self):
        return f"{quote(self.scheduler)}, {self.steps} steps, denoise {self.denoise:g}"


def is_spread_evenly(schedule):
    """Whether the old pack's tokens were those of the sampler's own timesteps."""
    if schedule.denoise != 1:
        return False
    even = schedule.scheduler in ("simple", "ddim_uniform") and TRAINING_STEPS % schedule.steps == 0
    return schedule.scheduler == "normal" or even


def written(graph, node, denoise=None):
    """The Schedule in the widgets of a node, None where they hold none."""
    scheduler, steps = graph.argument(node, "scheduler"), graph.argument(node, "steps")
    denoise = graph.argument(node, "denoise") if denoise is None else denoise
    numbers = type(steps) is int and steps > 0 and type(denoise) in (int, float)
    return Schedule(scheduler, steps, denoise) if isinstance(scheduler, str) and numbers else None


def of_sigmas(graph, node):
    """What an input `sigmas` is wired to: a Schedule, or the Output of another node; None where it isn't wired."""
    wired = graph.past_reroutes(graph.sources(node).get("sigmas"))
    if wired is not None and graph.kind(wired.node) == SCHEDULER:
        return written(graph, wired.node) or wired
    return wired


def told(graph, node):
    """The schedule that a SetEllaTimesteps or an EllaApply told the connector: a Schedule, an Output, or None."""
    sigmas = of_sigmas(graph, node)
    return written(graph, node) if sigmas is None and graph.kind(node) == SCHEDULE else sigmas


def run(graph, sampler):
    """The schedule that a sampler runs: a Schedule, an Output, or None where nothing tells it."""
    if graph.kind(sampler) == SAMPLER:
        return written(graph, sampler)
    if graph.kind(sampler) == ADVANCED_SAMPLER:
        return written(graph, sampler, denoise=1.0)
    return of_sigmas(graph, sampler) if graph.kind(sampler) == CUSTOM_SAMPLER else None


def change_of_picture(graph, node, samplers):
    """How the sampler's own schedule in place of a node's changes the picture, as the end of a sentence; or ""."""
    schedule = told(graph, node)
    name = f"the sigmas of {graph.label(schedule.node)}" if isinstance(schedule, Output) else str(schedule or "its own")
    for sampler in samplers:
        found = run(graph, sampler)
        if found is not None and schedule is not None and found != schedule:
            other = f"the sigmas of {graph.label(found.node)}" if isinstance(found, Output) else str(found)
            return f", and this changes the picture: it said {name}, and {graph.label(sampler)} runs {other}"
    if not isinstance(schedule, Schedule) or not is_spread_evenly(schedule):
        return f", and this changes the picture, since the old pack gave tokens of other timesteps with {name}"
    unknown = [sampler for sampler in samplers if run(graph, sampler) is None]
    if unknown or not samplers:
        where = graph.label(unknown[0]) if unknown else "the sampler"
        return f", and this changes the picture where {where} runs another one than {name}"
    return ""
