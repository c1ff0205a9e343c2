"""The training: batches through the frozen UNet, one loss, one step of the connector, and a save now and then."""

from __future__ import annotations

import time
from contextlib import ExitStack, nullcontext
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from tqdm import tqdm

from ella_core.connectors.connector_file import save_connector

from .draws import draw
from .errors import TrainingError
from .fit import check_fit
from .interrupts import Interrupts
from .lora import add_lora
from .loss import Conditioner, losses
from .optimizer import learning_rate, new_average, new_optimizer
from .options import check_options, micro_batches
from .run_folder import START, RunFolder
from .saved_state import read_state, write_state
from .tensorboard import open_tensorboard

LOG = "log.jsonl"


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
    where there is one. `facts` are further values of JSON that must be the same when a run goes on,
    `command` is what else is kept for --resume.

    Raises TrainingError, KeyboardInterrupt after a save.
    """
    accelerator = accelerator or Accelerator(mixed_precision=options.mixed_precision)
    rank, world_size, device = accelerator.process_index, accelerator.num_processes, accelerator.device
    check_options(options, world_size)
    check_fit(base, connector, data)
    micro, count = micro_batches(options, world_size)
    if accelerator.is_main_process:
        RunFolder.begin(out, options, all_facts(base, connector, data, facts), command)
        if options.lora_rank and not (Path(out) / START).exists():
            save_connector(connector, Path(out) / START)
    accelerator.wait_for_everyone()
    run = RunFolder(out)

    connector.to(device, torch.float32).train().requires_grad_(True)
    if options.lora_rank:
        add_lora(connector, options.lora_rank, options.seed)
    parameters = [weight for weight in connector.parameters() if weight.requires_grad]
    average = new_average(connector, options.ema_decay) if options.ema_decay else None
    conditioner, optimizer = accelerator.prepare(Conditioner(connector), new_optimizer(parameters, options))
    done, folder = run.newest()
    if folder is not None:
        done, position = read_state(folder, connector, average, optimizer, accelerator.scaler, rank, world_size)
        data.load_state_dict(position)
    if accelerator.is_main_process:
        run.tidy(options.keep)
        for name in (LOG, "validation.jsonl"):
            run.cut_lines(name, done)
    board = open_tensorboard(run, done) if options.tensorboard and accelerator.is_main_process else None
    batches = iter(data.batches(micro, rank, world_size))
    empty_states = data.empty_states.to(device)

    def save(step):
        states = gather_object([data.state_dict()])
        if accelerator.is_main_process and run.newest()[0] != step:
            with run.saving(step, options.keep) as folder:
                facts = {"text_encoder": data.facts or None, "base": base.name, "steps": step}
                facts |= {"training_options": options.asdict(), "prediction": base.prediction}
                write_state(folder, connector, average, optimizer, accelerator.scaler, step, states, facts)
        accelerator.wait_for_everyone()

    def one_step(step):
        """(mean loss, norm of the gradient) of a step, whose gradients are then in the parameters."""
        total = torch.zeros((), device=device)
        for number in range(count):
            batch = next(batches).to(device)
            first = (number * world_size + rank) * micro
            draws = draw(options.seed, step, first, batch.latents.shape, options.drop_prompt, options.noise_offset)
            last = number == count - 1
            with nullcontext() if last else accelerator.no_sync(conditioner):
                loss = losses(base, conditioner, batch, draws, empty_states, options.min_snr).mean() / count
                accelerator.backward(loss)
            total += loss.detach()
        norm = accelerator.clip_grad_norm_(parameters, options.clip or float("inf"))
        return total, norm

    bar = tqdm(total=options.steps, initial=done, disable=not (progress and accelerator.is_main_process), unit="step")
    losses_seen, began = [], time.monotonic()
    with ExitStack() as held:
        if accelerator.is_main_process:
            held.enter_context(run.lock())
        held.enter_context(bar)
        interrupts = held.enter_context(Interrupts())
        for step in range(done, options.steps):
            rate = learning_rate(options, step)
            for group in optimizer.param_groups:
                group["lr"] = rate
            with telling_of_memory(options, micro, step):
                total, norm = one_step(step)
            stop = torch.tensor(float(interrupts.stop), device=device)
            numbers = accelerator.reduce(torch.stack([total, norm.to(total), stop]), "mean")
            loss, norm, stop = numbers.tolist()
            if not is_finite(loss) or (accelerator.scaler is None and not is_finite(norm)):
                optimizer.zero_grad()
                save(step)
                raise TrainingError(
                    f"The loss of step {step + 1} is not finite, and the connector before it is kept in {run.path}; "
                    "begin a new run from its connector file with a lower --learning-rate or with --mixed-precision "
                    "no, and look for broken pictures in the data."
                )
            optimizer.step()
            optimizer.zero_grad()
            if average is not None:
                average.update_parameters(connector)
            losses_seen.append(loss)
            bar.update()
            bar.set_postfix_str(f"loss {loss:.4f}, rate {rate:.2e}", refresh=False)
            step += 1
            if step % options.log_every == 0 or step == options.steps:
                if accelerator.is_main_process:
                    line = {"step": step, "loss": sum(losses_seen) / len(losses_seen), "learning_rate": rate}
                    seconds = (time.monotonic() - began) / len(losses_seen)
                    line |= {"gradient_norm": norm, "pictures_per_second": round(options.batch_size / seconds, 2)}
                    run.add_line(LOG, line)
                    if board is not None:
                        board.add(line)
                losses_seen, began = [], time.monotonic()
            if step % options.save_every == 0 or step == options.steps or stop:
                save(step)
            shown = connector if average is None else average.module
            for every, show in ((options.validate_every, validate), (options.sample_every, sample)):
                if show is not None and every and (step % every == 0 or step == options.steps):
                    if accelerator.is_main_process:
                        found = show(shown, step, run)
                        if board is not None and found:
                            board.add({"step": step} | found)
                    accelerator.wait_for_everyone()
                    began = time.monotonic()
            if stop and step < options.steps:
                raise KeyboardInterrupt
    if board is not None:
        board.close()
    return run


def is_finite(number):
    return number - number == 0


def all_facts(base, connector, data, facts):
    """What must be the same when a run goes on, beside the options."""
    sizes = {"kind": type(connector).__name__} | vars(connector.config)
    of_base = {"name": base.name, "prediction": base.prediction, "context_width": base.context_width}
    return {"base": of_base, "connector": sizes, "text_encoder": data.facts} | (facts or {})


class telling_of_memory:
    """Turns the error of a full memory into a TrainingError that names the options to lower."""

    def __init__(self, options, micro, step):
        self.options, self.micro, self.step = options, micro, step

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        text = str(error)
        is_full = (
            isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in text or "not enough memory" in text
        )
        if not (isinstance(error, RuntimeError) and is_full):
            return False
        checkpointing = "" if self.options.gradient_checkpointing else " or switch --gradient-checkpointing on"
        raise TrainingError(
            f"The memory of the device is full in step {self.step + 1} with micro-batches of {self.micro}; lower "
            f"--micro-batch-size{checkpointing}, which changes nothing of what is learned."
        ) from None
