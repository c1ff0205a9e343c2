"""What ELLA adds to a run of the sampler, against the same run with CLIP conditioning."""

import time

import compare
import host
import torch
from comfy.patcher_extension import WrappersMP
from torch.profiler import ProfilerActivity, profile


def pair(model, ella, length=77):
    """Two graphs on one checkpoint: ELLA's (MODEL, positive, negative) and CLIP's."""
    from ella_core.host.apply import apply_ella

    with torch.inference_mode():
        ours = apply_ella(model, ella, host.text_states(length, 1), host.text_states(7, 2))
    return ours, (model, host.clip_states(1), host.clip_states(2))


def counted(model):
    model = model.clone()
    calls = []

    def count(executor, *args, **kwargs):
        calls.append(1)
        return executor(*args, **kwargs)

    model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "count", count)
    return model, calls


def evaluations(model, ella):
    """UNet evaluations of a run of ten steps in all schedulers."""
    import comfy.samplers

    ours, theirs = pair(model, ella)
    rows = []
    for scheduler in comfy.samplers.SCHEDULER_NAMES:
        counts = []
        for a_model, positive, negative in (ours, theirs):
            a_model, calls = counted(a_model)
            host.sample(a_model, positive, negative, 64, steps=10, scheduler=scheduler)
            counts.append(len(calls))
        rows.append(compare.row(f"UNet evaluations, {scheduler}", "CLIP", [counts], "calls"))
    return rows


def connector_calls(model, ella):
    """Forwards of the connector in a run of 20 steps at cfg 7, against one call for each step and prompt."""
    ours, _ = pair(model, ella)
    calls = []
    handle = ella.model.connector.register_forward_hook(lambda *_, calls=calls: calls.append(1))
    host.sample(*ours, 64, steps=20)
    handle.remove()
    return compare.row("connector forwards per run", "a call for each step and prompt", [(len(calls), 40)], "calls")


def added_time(model, ella, size, batch, steps, rounds):
    """Wall time of a whole run."""
    ours, theirs = pair(model, ella)
    return compare.interleaved(
        f"run of {steps} steps, {size}x{size}, batch {batch}",
        "CLIP",
        lambda: host.sample(*ours, size, batch, steps),
        lambda: host.sample(*theirs, size, batch, steps),
        rounds,
    )


def timed_in_patch(model):
    """Clone of an ELLA MODEL, and of each evaluation (seconds in the patch, seconds in the host's call inside)."""
    from ella_core.host.sampler_patch import KEY, set_timestep_tokens

    model = model.clone()
    times = []

    def timed(executor, *args, **kwargs):
        inside = 0

        def host_call(*call, **keywords):
            nonlocal inside
            started = time.perf_counter()
            result = executor(*call, **keywords)
            compare.synchronise()
            inside = time.perf_counter() - started
            return result

        started = time.perf_counter()
        result = set_timestep_tokens(host_call, *args, **kwargs)
        times.append((time.perf_counter() - started - inside, inside))
        return result

    model.wrappers[WrappersMP.CALC_COND_BATCH] = {KEY: [timed]}
    model.model_options["transformer_options"]["wrappers"][WrappersMP.CALC_COND_BATCH] = {KEY: [timed]}
    return model, times


def python_per_evaluation(model, ella, steps):
    """Row of the microseconds that the patch takes in an evaluation, the host's own call inside it left out."""
    patched, positive, negative = pair(model, ella)[0]
    patched, times = timed_in_patch(patched)
    host.sample(patched, positive, negative, 64, steps=steps)
    # The first evaluation computes the schedule.
    pairs = [(added * 1e6, 50) for added, _ in times[1:]]
    return compare.row("Python in the patch per evaluation", "50 us", pairs, "us", f"{steps} evaluations")


def time_in_patch(model, ella, size, steps):
    """Row of one run's seconds in the patch, the connector's schedule included, against those in the host's calls."""
    patched, positive, negative = pair(model, ella)[0]
    patched, times = timed_in_patch(patched)
    host.sample(patched, positive, negative, size, steps=steps)
    sums = [sum(part) for part in zip(*times)]
    return compare.row(f"time in the patch, {steps} steps, {size}x{size}", "time in the UNet", [sums], "s")


def memory(model, ella, size, batch):
    """Peak GPU memory of a run, in MiB."""
    import comfy.model_management

    peaks = []
    for a_model, positive, negative in pair(model, ella):
        comfy.model_management.unload_all_models()
        comfy.model_management.soft_empty_cache()
        torch.cuda.reset_peak_memory_stats()
        host.sample(a_model, positive, negative, size, batch, steps=4)
        peaks.append(torch.cuda.max_memory_allocated() / 2**20)
    note = f"{peaks[0] - peaks[1]:+.0f} MiB"
    return compare.row(f"peak GPU memory, {size}x{size}, batch {batch}", "CLIP", [peaks], "MiB", note)


def prompts_and_steps(ella, prompts, steps):
    """Seconds that the connector takes for so many prompts of 77 text states at so many steps, as in a run."""
    run = connector_run(ella, prompts, steps, 77)
    return compare.seconds(run)


def connector_run(ella, prompts, steps, length):
    """A function that computes the tokens of a run and returns them."""
    from ella_core.host.run_tokens import RunTokens

    device = ella.model.connector.latents.device
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    states = [host.text_states(length, seed)[0][0].to(device) for seed in range(prompts)]
    schedule = {float(step): step for step in torch.linspace(999, 0, steps).round().int().tolist()}
    like = torch.empty(0, dtype=dtype, device=device)

    @torch.inference_mode()
    def run():
        tokens = RunTokens(schedule, dtype)
        for one in states:
            tokens.at(one, 999, ella, like)
        return tokens

    return run


def batch_memory(ella, prompts, steps, length):
    """Row of the most memory that a run of the connector takes beside what it keeps, against the bound of a batch."""
    from ella_core.host.run_tokens import MEMORY

    run = connector_run(ella, prompts, steps, length)
    connector_run(ella, 1, 1, length)()
    if ella.model.connector.latents.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        kept = run()
        used = torch.cuda.max_memory_allocated() - torch.cuda.memory_allocated()
    else:
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
            kept = run()
        used = most_beyond_end(profiled)
    note = f"{prompts} prompts of {length} text states at {steps} steps; {len(kept.tokens)} token tensors kept"
    return compare.row("connector's working memory", "bound of a batch", [(used / 2**20, MEMORY / 2**20)], "MiB", note)


def most_beyond_end(profiled):
    """Bytes by which the memory in a profile was at its highest above where it ended."""
    total = most = 0
    for event in profiled.profiler.kineto_results.events():
        if event.name() == "[memory]":
            total += event.nbytes()
            most = max(most, total)
    return most - total


def images_at_once(model, ella):
    """Row of the connector's forwards for sixteen images against those for one."""
    ours, _ = pair(model, ella)
    counts = []
    for batch in (16, 1):
        calls = []
        handle = ella.model.connector.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        host.sample(*ours, 64, batch=batch, steps=8)
        handle.remove()
        counts.append(len(calls))
    return compare.row("connector forwards, batch 16", "batch 1", [counts], "calls")
