"""The training: batches through the frozen UNet, one loss, one step of the connector, and a save now and then."""

from __future__ import annotations

import math
from contextlib import ExitStack, nullcontext
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from ella_core.connectors.connector_file import save_connector

from .draws import draw
from .errors import TrainingError
from .fit import check_fit
from .interrupts import Interrupts
from .lora import add_lora
from .loss import Conditioner, losses
from .memory import telling_of_memory
from .optimizer import learning_rate, new_average, new_optimizer
from .options import check_options, micro_batches
from .report import LOG, Report
from .run_folder import START, RunFolder
from .saved_state import read_state, write_state
from .validation import LINES


def train(
    options,
    base,
    connector,
    data,
    out,
    *,
    validate=None,
    sample=None,
    facts=None,
    command=None,
    progress=True,
    accelerator=None,
):
    """Trains a connector on a frozen base until `options.steps`, in the folder `out`; returns its RunFolder.

    A run that is in `out` already goes on from its newest save, if it was begun with the same. `connector` is trained
    in place; of a run that goes on, its weights are replaced by the saved ones. `data` is a DataSource, `base` a Base.
    `validate` and `sample` are called as f(connector, step, run) where options ask for it, with the moving average
    where there is one. `facts` are further values of JSON that must be the same when a run goes on, `command` is what
    else is kept for --resume.

    Raises TrainingError, and KeyboardInterrupt after a save where it was asked to stop.
    """
    accelerator = accelerator or Accelerator(mixed_precision=options.mixed_precision)
    is_main = accelerator.is_main_process
    check_options(options, accelerator.num_processes)
    check_fit(base, connector, data)
    with ExitStack() as held:
        if is_main:
            run = RunFolder.begin(out, options, all_facts(base, connector, data, facts), command)
            held.enter_context(run.lock())
            run.keep_settings()
            if options.lora_rank and not (Path(out) / START).exists():
                save_connector(connector, Path(out) / START)
        accelerator.wait_for_everyone()
        training = Training(accelerator, options, base, connector, data, RunFolder(out))
        done = training.resume()
        report = held.enter_context(Report(training.run, options, done, progress)) if is_main else None
        interrupts = held.enter_context(Interrupts())
        for step in range(done + 1, options.steps + 1):
            loss, norm, rate, stop = training.step(step, interrupts)
            if is_main:
                report.add(step, loss, norm, rate)
            if step % options.save_every == 0 or step == options.steps or stop:
                training.save(step)
            for every, show in ((options.validate_every, validate), (options.sample_every, sample)):
                if every and (step % every == 0 or step == options.steps):
                    if is_main and show is not None:
                        report.show({"step": step} | show(training.shown, step, training.run))
                        report.pause()
                    accelerator.wait_for_everyone()
            if stop and step < options.steps:
                raise KeyboardInterrupt
    return training.run


class Training:
    """All that changes while a connector is trained, and its steps, counted from 1."""

    def __init__(self, accelerator, options, base, connector, data, run):
        self.accelerator, self.options, self.base, self.data, self.run = accelerator, options, base, data, run
        self.rank, self.world_size = accelerator.process_index, accelerator.num_processes
        self.micro, self.count = micro_batches(options, self.world_size)
        self.connector = connector.to(accelerator.device, torch.float32).train().requires_grad_(True)
        if options.lora_rank:
            add_lora(connector, options.lora_rank, options.seed)
        self.parameters = [weight for weight in connector.parameters() if weight.requires_grad]
        self.average = new_average(connector, options.ema_decay) if options.ema_decay else None
        optimizer = new_optimizer(self.parameters, options)
        self.conditioner, self.optimizer = accelerator.prepare(Conditioner(connector), optimizer)
        self.empty_states = data.empty_states.to(accelerator.device)

    @property
    def shown(self):
        """The connector to look at: the moving average where there is one."""
        return self.connector if self.average is None else self.average.module

    def resume(self):
        """Takes up the newest save, if there is one; returns the number of finished steps."""
        if self.accelerator.is_main_process:
            self.run.tidy(self.options.keep)
        self.accelerator.wait_for_everyone()
        done, folder = self.run.newest()
        if done > self.options.steps:
            raise TrainingError(
                f"{self.run.path} is at step {done} already, and --steps is {self.options.steps}; ask for more steps."
            )
        if folder is not None:
            parts = (self.connector, self.average, self.optimizer, self.accelerator.scaler)
            done, position = read_state(folder, *parts, self.rank, self.world_size)
            self.data.load_state_dict(position)
        if self.accelerator.is_main_process:
            for name in (LOG, LINES):
                self.run.cut_lines(name, done)
        self.batches = iter(self.data.batches(self.micro, self.rank, self.world_size))
        return done

    def step(self, step, interrupts):
        """One step of the optimizer: (loss, norm of the gradient, rate, whether any process was asked to stop)."""
        rate = learning_rate(self.options, step - 1)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with telling_of_memory(self.options, self.micro, step):
            loss = sum(self.backward(step, number) for number in range(self.count))
            norm = self.accelerator.clip_grad_norm_(self.parameters, self.options.clip or math.inf)
            numbers = torch.stack([loss, norm.to(loss), torch.full_like(loss, float(interrupts.stop))])
            loss, norm, stop = self.accelerator.reduce(numbers, "mean").tolist()
            self.check_finite(step, loss, norm)
            self.optimizer.step()
            self.optimizer.zero_grad()
        if self.average is not None:
            self.average.update_parameters(self.connector)
        return loss, norm, rate, stop > 0

    def backward(self, step, number):
        """Adds the gradient of a step's micro-batch of that number, its part of the step's mean; returns its loss."""
        batch = next(self.batches).to(self.accelerator.device)
        first = (number * self.world_size + self.rank) * self.micro
        options = self.options
        draws = draw(options.seed, step - 1, first, batch.latents.shape, options.drop_prompt, options.noise_offset)
        is_last = number == self.count - 1
        with nullcontext() if is_last else self.accelerator.no_sync(self.conditioner):
            of_each = losses(self.base, self.conditioner, batch, draws, self.empty_states, options.min_snr)
            loss = of_each.mean() / self.count
            self.accelerator.backward(loss)
        return loss.detach()

    def check_finite(self, step, loss, norm):
        """Saves the weights before the step and raises TrainingError where the step would spoil them."""
        # With a scaler, a norm that is not finite is no accident: the scaler skips the step and lowers its scale.
        if math.isfinite(loss) and (self.accelerator.scaler is not None or math.isfinite(norm)):
            return
        self.optimizer.zero_grad()
        self.save(step - 1)
        raise TrainingError(
            f"The loss of step {step} is not finite, and the connector before it is kept in {self.run.path}; begin a "
            "new run from its connector file with a lower --learning-rate or with --mixed-precision no, and look for "
            "broken pictures in the data."
        )

    def save(self, step):
        """A save of that step, unless there is one."""
        positions = gather_object([self.data.state_dict()])
        if self.accelerator.is_main_process and self.run.newest()[0] != step:
            facts = {"text_encoder": self.data.facts or None, "base": self.base.name, "steps": step}
            facts |= {"training_options": self.options.asdict(), "prediction": self.base.prediction}
            parts = (self.connector, self.average, self.optimizer, self.accelerator.scaler)
            with self.run.saving(step, self.options.keep) as folder:
                write_state(folder, *parts, step, positions, facts)
        self.accelerator.wait_for_everyone()


def all_facts(base, connector, data, facts):
    """What must be the same when a run goes on, beside the options."""
    sizes = {"kind": type(connector).__name__} | vars(connector.config)
    of_base = {"name": base.name, "prediction": base.prediction, "context_width": base.context_width}
    return {"base": of_base, "connector": sizes, "text_encoder": data.facts} | (facts or {})
