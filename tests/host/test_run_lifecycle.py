"""Interrupted, failed, repeated and parallel runs: the next one is right and nothing of an ended one is kept."""

import gc
import weakref

import comfy.model_management
import pytest
import torch
from comfy.patcher_extension import WrappersMP
from sampling import LATENT, assert_exact, ksample, record_context, relative


def fail_at(model, evaluation, error):
    """Clone of a MODEL whose UNet raises in one of its evaluations."""
    model = model.clone()
    count = 0

    def fail(executor, *args, **kwargs):
        nonlocal count
        count += 1
        if count == evaluation:
            raise error
        return executor(*args, **kwargs)

    model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "fail", fail)
    return model


@pytest.mark.parametrize(
    "error", [comfy.model_management.InterruptProcessingException(), torch.OutOfMemoryError("out of memory")]
)
def test_after_a_run_that_broke_off(host, applied, error):
    expected = ksample(host, *applied)
    with pytest.raises(type(error)):
        ksample(host, fail_at(applied[0], 3, error), *applied[1:])
    assert torch.equal(ksample(host, *applied), expected)


def watch_runs(host, model):
    """Clone of a MODEL and the list of weak references to what each of its runs keeps, one for each evaluation."""
    model = model.clone()
    references = []

    def watch(executor, base_model, conds, x_in, timestep, model_options, *args, **kwargs):
        references.append(weakref.ref(current_run_of(host)[1]))
        return executor(base_model, conds, x_in, timestep, model_options, *args, **kwargs)

    model.add_wrapper_with_key(WrappersMP.CALC_COND_BATCH, "watch", watch)
    return model, references


def current_run_of(host):
    return host.core("host.evaluation").RUN.get()


def test_nothing_is_kept_of_an_ended_or_broken_run(host, applied):
    watched, references = watch_runs(host, applied[0])
    ksample(host, watched, *applied[1:], steps=1)
    with pytest.raises(RuntimeError):
        ksample(host, fail_at(watched, 1, RuntimeError("broken")), *applied[1:])
    gc.collect()
    assert len(references) == 2 and not any(reference() for reference in references)
    assert current_run_of(host) == (None, None)


def test_unloading_between_runs(host, applied):
    expected = ksample(host, *applied, steps=2)
    comfy.model_management.unload_all_models()
    comfy.model_management.soft_empty_cache()
    assert torch.equal(ksample(host, *applied, steps=2), expected)


def live_tensors():
    gc.collect()
    return sum(isinstance(thing, torch.Tensor) for thing in gc.get_objects())


@pytest.mark.slow
def test_fifty_runs_with_changing_prompts_keep_no_tensor(host, model, ella, t5):
    def run(index):
        states = host.run("ELLAT5TextEncode", clip=t5, text=f"fox number {index}", max_length=0)[0]
        patched, positive, negative = host.run(
            "ELLAApplyConditioning", model=model, ella=ella, positive=states, negative=states
        )
        ksample(host, patched, positive, negative, steps=1, cfg=1.0, seed=index)

    for index in range(3):
        run(index)
    before = live_tensors()
    for index in range(50):
        run(index)
    assert live_tensors() <= before + 5


def test_another_seed_reads_no_text_again(host, applied, t5, ella):
    """The graph of a second queue is the same but for the seed: one batched forward per prompt, none of the encoder."""
    reads, forwards = [], []
    handles = [
        t5.cond_stage_model.t5xl.encoder.model.register_forward_hook(lambda *_: reads.append(1)),
        ella.model.connector.register_forward_hook(lambda *_: forwards.append(1)),
    ]
    try:
        ksample(host, *applied, seed=11)
        ksample(host, *applied, seed=12)
    finally:
        for handle in handles:
            handle.remove()
    assert reads == [] and len(forwards) == 4


def test_two_connectors_on_one_model(host, model, model_files, random_models, ella, text_states, prompt_states, oracle):
    """Each prompt uses the connector it was made with."""
    path = model_files / "ella/other.safetensors"
    random_models.make_connector(
        str(path), host.core("connectors.tsc"), seed=77, depth=2, text_dim=32, dtype=torch.float32
    )
    other = host.run("LoadELLA", ella_name="other.safetensors")[0]
    patched, positive = host.run("ELLAApplyConditioning", model=model, ella=ella, positive=text_states[0])[:2]
    patched, negative = host.run("ELLAApplyConditioning", model=patched, ella=other, positive=text_states[1])[:2]
    recorded, seen = record_context(patched)
    ksample(host, recorded, positive, negative)
    second = host.core("connectors.connector_file").load_connector(path).double()
    for index, (timestep, context) in enumerate(seen):
        # The host puts the negative first when it batches both.
        connector, states = ((second, prompt_states[1]), (oracle, prompt_states[0]))[index % 2]
        assert_exact([(timestep, context)], connector, states)


def test_applied_with_the_other_connector_only(host, model, ella, text_states):
    """A conditioning of one Apply ELLA with the model of another connector's is refused, not read by the wrong one."""
    again = host.run("LoadELLA", ella_name="tiny.safetensors")[0]
    _, positive = host.run("ELLAApplyConditioning", model=model, ella=ella, positive=text_states[0])[:2]
    patched, _ = host.run("ELLAApplyConditioning", model=model, ella=again, positive=text_states[0])[:2]
    with pytest.raises(ValueError, match="wire the MODEL output of Apply ELLA"):
        ksample(host, patched, positive, positive)


def test_several_devices_equal_one(host, applied, monkeypatch):
    """The host's multi-GPU split, with the processor named twice as two devices."""
    if not hasattr(applied[0], "deepclone_multigpu"):
        pytest.skip("this host has no multi-GPU split")
    expected = ksample(host, *applied)
    devices = [torch.device("cpu"), torch.device("cpu:0")]
    monkeypatch.setattr(
        comfy.model_management, "get_all_torch_devices", lambda exclude_current=False: devices[exclude_current:]
    )
    split = host.run("MultiGPU_WorkUnits", model=applied[0], max_gpus=2)[0]
    assert len(split.get_additional_models_with_key("multigpu")) == 1
    recorded, seen = record_context(split)
    assert relative(ksample(host, recorded, *applied[1:]), expected) < LATENT
    assert len(seen) == 8


def test_unpatching_order_of_models(host, model, applied, clip_conds):
    """CLIP and ELLA runs of one checkpoint in turn: each as if it were alone."""
    clip, ella = ksample(host, model, *clip_conds, steps=2), ksample(host, *applied, steps=2)
    assert torch.equal(ksample(host, model, *clip_conds, steps=2), clip)
    assert torch.equal(ksample(host, *applied, steps=2), ella)
