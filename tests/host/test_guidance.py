"""Guiders and model patches on an ELLA model: they run, timesteps stay exact, the order of patching is irrelevant."""

import copy

import comfy.samplers
import pytest
import torch
from sampling import LATENT, assert_exact, brute_force, ksample, latent, record_context, relative, tagged

PATCHES = {
    "PerturbedAttentionGuidance": {"scale": 3.0},
    "SelfAttentionGuidance": {"scale": 0.5, "blur_sigma": 2.0},
    "APG": {"eta": 0.5, "norm_threshold": 5.0, "momentum": 0.1},
    "NAGuidance": {"nag_scale": 5.0, "nag_alpha": 0.5, "nag_tau": 1.5},
    "RescaleCFG": {"multiplier": 0.7},
    "TCFG": {},
    "Mahiro": {},
    "HyperTile": {"tile_size": 128, "swap_size": 2, "max_depth": 0, "scale_depth": False},
    "FreeU_V2": {"b1": 1.3, "b2": 1.4, "s1": 0.9, "s2": 0.2},
    "TomePatchModel": {"ratio": 0.3},
    "PatchModelAddDownscale": {
        "block_number": 1,
        "downscale_factor": 2.0,
        "start_percent": 0.0,
        "end_percent": 0.35,
        "downscale_after_skip": True,
        "downscale_method": "bicubic",
        "upscale_method": "bicubic",
    },
    "EasyCache": {"reuse_threshold": 0.2, "start_percent": 0.15, "end_percent": 0.95, "verbose": False},
    "LazyCache": {"reuse_threshold": 0.2, "start_percent": 0.15, "end_percent": 0.95, "verbose": False},
    "ModelSamplingDiscrete": {"sampling": "v_prediction", "zsnr": False},
}
# Nodes whose patch draws from torch's global random state, which another patch's order shifts.
RANDOM = {"HyperTile", "TomePatchModel"}


@pytest.mark.parametrize("node_id", PATCHES)
def test_model_patches(host, model, ella, text_states, prompt_states, forced, oracle, node_id):
    if node_id not in host.node_classes:
        pytest.skip(f"this host has no {node_id}")

    def patch(a_model):
        return host.run(node_id, model=a_model, **PATCHES[node_id])[0]

    def apply(a_model):
        return host.run(
            "ELLAApplyConditioning", model=a_model, ella=ella, positive=text_states[0], negative=text_states[1]
        )

    def run(a_model, positive, negative):
        torch.manual_seed(0)
        return ksample(host, a_model, positive, negative, steps=4, scheduler="karras")

    patched, positive, negative = apply(model)
    recorded, seen = record_context(patch(patched))
    after = run(recorded, positive, negative)
    before = run(*apply(patch(model)))
    expected = run(patch(forced), tagged(1), tagged(2))
    assert_exact(seen, oracle, *prompt_states)
    assert relative(after, expected) < LATENT
    assert relative(before, expected) < LATENT


def test_negpip_reads_each_token_as_key_and_value(host, model, applied, ella, text_states, clip_conds):
    """NegPip's model takes every other token as key and value: ELLA's stand there twice, beside CLIP's own pairs."""

    def with_negpip(a_model):
        a_model = a_model.clone()
        a_model.model_options["ppm_negpip"] = True
        a_model.set_model_attn2_patch(lambda q, k, v, options: (q, k[:, 0::2], v[:, 1::2]))
        return a_model

    def apply(a_model, clip):
        return host.run(
            "ELLAApplyConditioning",
            model=a_model,
            ella=ella,
            positive=text_states[0],
            negative=text_states[1],
            clip_positive=clip,
        )

    pairs = [[clip_conds[0][0][0].repeat_interleave(2, dim=1), clip_conds[0][0][1]]]
    expected = ksample(host, *apply(model, clip_conds[0]), steps=2)
    assert relative(ksample(host, *apply(with_negpip(model), pairs), steps=2), expected) < LATENT
    with pytest.raises(ValueError, match="put CLIP NegPip before Apply ELLA"):
        ksample(host, with_negpip(applied[0]), *applied[1:], steps=1)


def evaluating_by_copied_options(model):
    """Clone of a MODEL whose guidance evaluates the positive again, by options that were copied when it was queued."""
    model = model.clone()
    options = copy.deepcopy(model.model_options)

    def evaluate_again(args):
        comfy.samplers.calc_cond_batch(args["model"], [args["cond"]], args["input"], args["sigma"], options)
        return args["denoised"]

    model.set_model_sampler_post_cfg_function(evaluate_again)
    return model


def test_evaluations_by_copied_options(host, model, ella, applied, text_states, prompt_states, oracle):
    seen, forwards = [], []

    def record(_, args, kwargs):
        seen.extend((float(args[1][0]), row[None]) for row in kwargs["context"])

    handles = [
        # Copied options know none of the recording wrapper's.
        model.model.diffusion_model.register_forward_pre_hook(record, with_kwargs=True),
        ella.model.connector.register_forward_hook(lambda *_: forwards.append(1)),
    ]
    ksample(host, evaluating_by_copied_options(applied[0]), *applied[1:], steps=2)
    for handle in handles:
        handle.remove()
    assert len(seen) == 6
    assert_exact(seen, oracle, *prompt_states)
    assert len(forwards) == 2  # of one run, though its options are not the run's

    patched, positive, negative = host.run(
        "ELLAApplyConditioning",
        model=evaluating_by_copied_options(model),
        ella=ella,
        positive=text_states[0],
        negative=text_states[1],
    )
    with pytest.raises(ValueError, match="put Apply ELLA before that node"):
        ksample(host, patched, positive, negative, steps=1)


def custom(host, guider, *, steps=4, scheduler="normal", sampler="euler"):
    model = guider.model_patcher
    return host.run(
        "SamplerCustomAdvanced",
        noise=host.run("RandomNoise", noise_seed=5)[0],
        guider=guider,
        sampler=host.run("KSamplerSelect", sampler_name=sampler)[0],
        sigmas=host.run("BasicScheduler", model=model, scheduler=scheduler, steps=steps, denoise=1.0)[0],
        latent_image=latent(),
    )[0]["samples"]


GUIDERS = {
    "CFGGuider": lambda p, n, e: {"positive": p, "negative": n, "cfg": 6.0},
    "CFGGuider at cfg 1": lambda p, n, e: {"positive": p, "negative": n, "cfg": 1.0},
    "BasicGuider": lambda p, n, e: {"conditioning": p},
    "DualCFGGuider": lambda p, n, e: {
        "cond1": p, "cond2": e, "negative": n, "cfg_conds": 6.0, "cfg_cond2_negative": 3.0, "style": "regular",
    },
    "PerpNegGuider": lambda p, n, e: {
        "positive": p, "negative": n, "empty_conditioning": e, "cfg": 6.0, "neg_scale": 1.0,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", GUIDERS)
def test_guiders(host, model, ella, t5, text_states, oracle, name):
    empty = host.run("ELLAT5TextEncode", clip=t5, text="", max_length=0)[0]
    patched, positive, negative = host.run(
        "ELLAApplyConditioning", model=model, ella=ella, positive=text_states[0], negative=text_states[1]
    )
    patched, empty_applied = host.run("ELLAApplyConditioning", model=patched, ella=ella, positive=empty)[:2]
    prompts = text_states[0][0][0], text_states[1][0][0], empty[0][0]
    forced = brute_force(model, oracle, *prompts)

    def guide(a_model, *conds):
        return host.run(name.split(" at ")[0], model=a_model, **GUIDERS[name](*conds))[0]

    recorded, seen = record_context(patched)
    found = custom(host, guide(recorded, positive, negative, empty_applied))
    assert_exact(seen, oracle, *prompts)
    assert relative(found, custom(host, guide(forced, tagged(1), tagged(2), tagged(3)))) < LATENT


def test_the_old_perp_neg_node(host, model, ella, t5, text_states, oracle):
    """It converts its empty conditioning inside the guidance, so the patch first sees it in mid-run."""
    empty = host.run("ELLAT5TextEncode", clip=t5, text="", max_length=0)[0]
    patched, positive, negative = host.run(
        "ELLAApplyConditioning", model=model, ella=ella, positive=text_states[0], negative=text_states[1]
    )
    patched, empty_applied = host.run("ELLAApplyConditioning", model=patched, ella=ella, positive=empty)[:2]
    prompts = text_states[0][0][0], text_states[1][0][0], empty[0][0]

    def run(a_model, positive, negative, empty):
        perp_neg = host.run("PerpNeg", model=a_model, empty_conditioning=empty, neg_scale=1.0)[0]
        return ksample(host, perp_neg, positive, negative)

    recorded, seen = record_context(patched)
    found = run(recorded, positive, negative, empty_applied)
    assert_exact(seen, oracle, *prompts)
    assert relative(found, run(brute_force(model, oracle, *prompts), tagged(1), tagged(2), tagged(3))) < LATENT


@pytest.mark.parametrize("cfg", [1.0, 3.0])
def test_cfg(host, applied, forced, cfg):
    assert relative(ksample(host, *applied, cfg=cfg), ksample(host, forced, tagged(1), tagged(2), cfg=cfg)) < LATENT


def test_model_function_wrapper_of_another_pack_stays_active(host, model, ella, text_states, forced):
    """The one slot that older packs share: ours does not use it, so theirs runs, in either order."""
    calls = []

    def halve(apply_model, args):
        calls.append(float(args["timestep"][0]))
        return apply_model(args["input"], args["timestep"], **args["c"]) * 0.5

    def wrap(a_model):
        a_model = a_model.clone()
        a_model.set_model_unet_function_wrapper(halve)
        return a_model

    apply = {"ella": ella, "positive": text_states[0], "negative": text_states[1]}
    first = host.run("ELLAApplyConditioning", model=wrap(model), **apply)
    patched, positive, negative = host.run("ELLAApplyConditioning", model=model, **apply)
    expected = ksample(host, wrap(forced), tagged(1), tagged(2))
    assert len(calls) == 4
    assert relative(ksample(host, *first), expected) < LATENT
    assert relative(ksample(host, wrap(patched), positive, negative), expected) < LATENT
    assert len(calls) == 12


@pytest.mark.parametrize("order", ["inside", "outside"])
def test_another_calc_cond_batch_wrapper_stays_active(host, model, ella, text_states, forced, order):
    from comfy.patcher_extension import WrappersMP

    calls = []

    def count(executor, *args, **kwargs):
        calls.append(1)
        return executor(*args, **kwargs)

    def wrap(a_model):
        a_model = a_model.clone()
        a_model.add_wrapper_with_key(WrappersMP.CALC_COND_BATCH, "another pack", count)
        return a_model

    base = wrap(model) if order == "outside" else model
    patched, positive, negative = host.run(
        "ELLAApplyConditioning", model=base, ella=ella, positive=text_states[0], negative=text_states[1]
    )
    found = ksample(host, patched if order == "outside" else wrap(patched), positive, negative)
    assert len(calls) == 4
    assert relative(found, ksample(host, forced, tagged(1), tagged(2))) < LATENT
