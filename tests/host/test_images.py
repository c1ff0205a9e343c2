"""Image to image, inpainting, second passes, batches, frames and context windows, on the same wires."""

import pytest
import torch
from sampling import LATENT, PROMPT, assert_exact, brute_force, ksample, latent, record_context, relative, tagged

PROMPTS = (PROMPT, "a stone bridge over a river", "", "snow")


@pytest.mark.parametrize("denoise", [0.35, 0.5, 0.8])
def test_image_to_image(host, checkpoint, applied, forced, prompt_states, oracle, denoise):
    image = host.run("VAEEncode", pixels=torch.rand(1, 64, 64, 3), vae=checkpoint[2])[0]
    recorded, seen = record_context(applied[0])
    found = ksample(host, recorded, *applied[1:], denoise=denoise, image=image)
    assert_exact(seen, oracle, *prompt_states)
    assert relative(found, ksample(host, forced, tagged(1), tagged(2), denoise=denoise, image=image)) < LATENT


def half_mask(side=64):
    mask = torch.zeros(1, side, side)
    mask[:, 16:48, 16:48] = 1.0
    return mask


@pytest.mark.parametrize("way", ["VAEEncodeForInpaint", "SetLatentNoiseMask", "DifferentialDiffusion"])
def test_inpainting(host, checkpoint, applied, forced, way):
    pixels = torch.rand(1, 64, 64, 3, generator=torch.Generator().manual_seed(1))
    vae = checkpoint[2]
    if way == "VAEEncodeForInpaint":
        image = host.run(way, pixels=pixels, vae=vae, mask=half_mask(), grow_mask_by=6)[0]
    else:
        encoded = host.run("VAEEncode", pixels=pixels, vae=vae)[0]
        image = host.run("SetLatentNoiseMask", samples=encoded, mask=half_mask() * torch.linspace(0, 1, 64))[0]
    models = applied[0], forced
    if way == "DifferentialDiffusion":
        models = [host.run(way, model=a_model)[0] for a_model in models]
    found = ksample(host, models[0], *applied[1:], image=image, denoise=0.8)
    assert relative(found, ksample(host, models[1], tagged(1), tagged(2), image=image, denoise=0.8)) < LATENT


@pytest.fixture(scope="module")
def inpaint_model(host, model_files, random_models):
    """A UNet of nine channels: latent, mask and masked picture."""
    path = model_files / "diffusion_models/inpaint.safetensors"
    random_models.make_unet(str(path), dtype=torch.float32, in_channels=9)
    return host.run("UNETLoader", unet_name="inpaint.safetensors", weight_dtype="default")[0]


def test_inpainting_unet(host, checkpoint, inpaint_model, ella, text_states, prompt_states, oracle):
    pixels = torch.rand(1, 64, 64, 3, generator=torch.Generator().manual_seed(1))
    patched, positive, negative = host.run(
        "ELLAApplyConditioning", model=inpaint_model, ella=ella, positive=text_states[0], negative=text_states[1]
    )

    def run(a_model, positive, negative):
        positive, negative, image = host.run(
            "InpaintModelConditioning",
            positive=positive, negative=negative, vae=checkpoint[2], pixels=pixels, mask=half_mask(), noise_mask=True,
        )  # fmt: skip
        return ksample(host, a_model, positive, negative, image=image)

    recorded, seen = record_context(patched)
    found = run(recorded, positive, negative)
    assert_exact(seen, oracle, *prompt_states)
    assert relative(found, run(brute_force(inpaint_model, oracle, *prompt_states), tagged(1), tagged(2))) < LATENT


def test_second_pass_on_the_same_wires(host, applied, forced):
    def two_passes(a_model, positive, negative):
        first = ksample(host, a_model, positive, negative)
        upscaled = host.run(
            "LatentUpscale", samples={"samples": first}, upscale_method="bilinear", width=96, height=96, crop="disabled"
        )[0]
        return ksample(
            host, a_model, positive, negative, image=upscaled, denoise=0.55, scheduler="karras", sampler="dpmpp_2m"
        )

    assert relative(two_passes(*applied), two_passes(forced, tagged(1), tagged(2))) < LATENT


@pytest.mark.parametrize("batch", [1, 3, 4, 7])
def test_each_image_of_a_batch_equals_its_single_run(host, applied, batch):
    images = latent(batch=batch)
    whole = ksample(host, *applied, image=images, steps=2)
    for index in range(batch):
        one = host.run("LatentFromBatch", samples=images, batch_index=index, length=1)[0]
        # The host draws an image's own noise of the batch for it (batch_index).
        assert relative(ksample(host, *applied, image=one, steps=2), whole[index : index + 1]) < LATENT


def test_repeated_latents(host, applied, forced):
    repeated = host.run("RepeatLatentBatch", samples=latent(), amount=3)[0]
    found = ksample(host, *applied, image=repeated, steps=2)
    assert relative(found, ksample(host, forced, tagged(1), tagged(2), image=repeated, steps=2)) < LATENT


@pytest.fixture(scope="module")
def prompts(host, t5):
    """Text states of four prompts of four lengths."""
    return [host.run("ELLAT5TextEncode", clip=t5, text=text, max_length=0)[0][0][0] for text in PROMPTS]


def batched(states, options):
    """One CONDITIONING of several prompts as nodes for prompt travel make it: padded with zeros, before or after."""
    longest = max(one.shape[1] for one in states)
    gaps = [longest - one.shape[1] for one in states]
    padded = [
        torch.nn.functional.pad(one, (0, 0, *((0, gap) if index % 2 else (gap, 0))))
        for index, (one, gap) in enumerate(zip(states, gaps))
    ]
    return [[torch.cat(padded), options]]


def test_a_prompt_for_each_image(host, model, ella, text_states, prompts, oracle):
    conditioning = batched(prompts, text_states[0][0][1])
    patched, positive, negative = host.run(
        "ELLAApplyConditioning", model=model, ella=ella, positive=conditioning, negative=text_states[1]
    )
    images = latent(batch=4)
    whole = ksample(host, patched, positive, negative, image=images, steps=2)
    for index, states in enumerate(prompts):
        forced = brute_force(model, oracle, states, text_states[1][0][0])
        one = host.run("LatentFromBatch", samples=images, batch_index=index, length=1)[0]
        assert (
            relative(whole[index : index + 1], ksample(host, forced, tagged(1), tagged(2), image=one, steps=2)) < LATENT
        )


def test_one_image_picked_out_keeps_its_prompt(host, model, ella, text_states, prompts, oracle):
    """Nodes for animations take single frames out of a CONDITIONING's tensor and leave its options as they are."""
    patched, positive, negative = host.run(
        "ELLAApplyConditioning",
        model=model,
        ella=ella,
        positive=batched(prompts, text_states[0][0][1]),
        negative=text_states[1],
    )
    picked = [[positive[0][0][2:3], positive[0][1]]]
    forced = brute_force(model, oracle, prompts[2], text_states[1][0][0])
    found = ksample(host, patched, picked, negative, steps=2)
    assert relative(found, ksample(host, forced, tagged(1), tagged(2), steps=2)) < LATENT


@pytest.mark.parametrize("schedule", ["standard_static", "standard_uniform", "looped_uniform", "batched"])
@pytest.mark.parametrize("fix", [False, True])
def test_context_windows_keep_each_frames_prompt(host, model, ella, text_states, prompts, oracle, schedule, fix):
    frames = [prompts[index % 4] for index in range(6)]
    patched, positive, negative = host.run(
        "ELLAApplyConditioning",
        model=model,
        ella=ella,
        positive=batched(frames, text_states[0][0][1]),
        negative=text_states[1],
    )
    inputs = {
        "context_length": 4, "context_overlap": 2, "context_schedule": schedule, "context_stride": 1,
        "closed_loop": False, "fuse_method": "pyramid", "dim": 0, "freenoise": False,
    }  # fmt: skip
    accepted = {name for group in host.node_classes["ContextWindowsManual"].INPUT_TYPES().values() for name in group}
    if "causal_window_fix" in accepted:
        inputs["causal_window_fix"] = fix
    elif fix:
        pytest.skip("this host has no causal_window_fix")

    def windows(a_model):
        return host.run("ContextWindowsManual", model=a_model, **inputs)[0]

    images = latent(batch=6)
    found = ksample(host, windows(patched), positive, negative, image=images, steps=2)
    forced = brute_force(model, oracle, *frames, text_states[1][0][0])
    tags = [[torch.cat([tagged(index + 1)[0][0] for index in range(6)]), {}]]
    expected = ksample(host, windows(forced), tags, tagged(7), image=images, steps=2)
    assert relative(found, expected) < LATENT


def test_prompt_travel_by_timestep_range(host, model, ella, text_states, prompts, oracle):
    spans = ((0.0, 0.3), (0.3, 0.6), (0.6, 1.0))

    def travel(conditionings):
        return sum(
            (
                host.run("ConditioningSetTimestepRange", conditioning=one, start=start, end=end)[0]
                for one, (start, end) in zip(conditionings, spans)
            ),
            [],
        )

    conditionings = [[[states, text_states[0][0][1]]] for states in prompts[:3]]
    patched, positive, negative = host.run(
        "ELLAApplyConditioning", model=model, ella=ella, positive=travel(conditionings), negative=text_states[1]
    )
    recorded, seen = record_context(patched)
    found = ksample(host, recorded, positive, negative, steps=6)
    assert_exact(seen, oracle, *prompts[:3], text_states[1][0][0])
    forced = brute_force(model, oracle, *prompts[:3], text_states[1][0][0])
    expected = ksample(host, forced, travel([tagged(1), tagged(2), tagged(3)]), tagged(4), steps=6)
    assert relative(found, expected) < LATENT
