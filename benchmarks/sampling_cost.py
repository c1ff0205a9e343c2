"""What ELLA adds to a run of the sampler, against the same run with CLIP conditioning."""

import time

import compare
import host
import torch
from comfy.patcher_extension import WrappersMP


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
    handle = ella.model.connector.register_forward_hook(lambda *_: calls.append(1))
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


def python_per_evaluation(model, ella, steps=200):
    """Microseconds that the patch takes in an evaluation, the host's own call inside it left out."""
    from ella_core.host.sampler_patch import KEY, set_timestep_tokens

    patched, positive, negative = pair(model, ella)[0]
    patched = patched.clone()
    inside, outside = [], []

    def timed(executor, *args, **kwargs):
        def host_call(*call, **keywords):
            started = time.perf_counter()
            result = executor(*call, **keywords)
            inside.append(time.perf_counter() - started)
            return result

        started = time.perf_counter()
        result = set_timestep_tokens(host_call, *args, **kwargs)
        outside.append(time.perf_counter() - started)
        return result

    patched.wrappers[WrappersMP.CALC_COND_BATCH] = {KEY: [timed]}
    host.sample(patched, positive, negative, 64, steps=steps)
    # The first evaluation computes the schedule.
    added = sorted((whole - part) * 1e6 for whole, part in list(zip(outside, inside))[1:])
    median = added[len(added) // 2]
    return compare.Row(
        "Python in the patch per evaluation", "50 us", median / 50, added[0] / 50, added[-1] / 50, median, 50, "us"
    )


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


def scaling(model, ella, prompts, steps, batch):
    """Seconds that the connector takes in a run of so many prompts, steps and images."""
    from ella_core.host.run_tokens import RunTokens

    device = ella.model.connector.latents.device
    states = [host.text_states(77, seed)[0][0].to(device) for seed in range(prompts)]
    schedule = {float(step): step for step in torch.linspace(999, 0, steps).round().int().tolist()}
    like = torch.empty(0)
    dtype = torch.float16 if device.type == "cuda" else torch.float32

    @torch.inference_mode()
    def run():
        tokens = RunTokens(schedule, dtype)
        for one in states:
            tokens.at(one, 999, ella, like)

    run()
    return compare.seconds(run)
