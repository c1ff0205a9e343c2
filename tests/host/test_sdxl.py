"""SDXL: tokens and pooled vector of each evaluation's own timestep, size and crop, and what stands in for a pool.

The model is Segmind-Vega's shape with levels of one width, the smallest that the host knows as SDXL.
"""

import logging

import comfy.model_base
import comfy.samplers
import comfy.sd
import comfy.sdxl_clip
import pytest
import torch
from comfy.patcher_extension import WrappersMP
from safetensors.torch import save_file
from sampling import CONTEXT, LATENT, PROMPT, ksample, latent, relative
from tiny_language_models import make_language_model

POOLED, SIZES_END = 1280, 2816
QUERIES = 6
SIZES = {
    "width": 2048, "time_dim": 64, "time_channels": 32, "depth": 1, "num_heads": 8, "num_queries": QUERIES,
    "text_dim": 32,
}  # fmt: skip
SCREEN = {"width": 1024, "height": 896, "crop_w": 64, "crop_h": 8, "target_width": 512, "target_height": 768}


@pytest.fixture(scope="module")
def unet(host, model_files, random_models):
    """Writes a UNet of that shape into diffusion_models, under a name; returns its MODEL."""
    paths = []

    def load(name, extra=None, **changes):
        path = model_files / "diffusion_models" / name
        path.parent.mkdir(exist_ok=True)
        weights = random_models.unet_weights(dtype=torch.float32, **random_models.SDXL_UNET | changes)
        save_file(weights | (extra or {}), path)
        paths.append(path)
        return host.run("UNETLoader", unet_name=name, weight_dtype="default")[0]

    yield load
    for path in paths:
        path.unlink()


@pytest.fixture(scope="module")
def sdxl(unet):
    return unet("vega.safetensors")


@pytest.fixture(scope="module")
def sdxl_clip(random_models):
    """SDXL's two text encoders with three layers each and random weights, as the host's CLIP."""

    class Target:
        params = {}
        clip = comfy.sdxl_clip.SDXLClipModel
        tokenizer = comfy.sdxl_clip.SDXLTokenizer

    three_layers = {f"clip_{name}_model_config": {"num_hidden_layers": 3} for name in "gl"}
    clip = comfy.sd.CLIP(Target, model_options=three_layers)
    weights = random_models.random_weights(clip.cond_stage_model, seed=9, dtype=torch.float32)
    clip.cond_stage_model.load_state_dict(weights)
    return clip


@pytest.fixture(scope="module")
def connectors(host, plain_core, model_files, random_models):
    """(ELLA, float64 oracle) with an attention pool and without one."""
    found, paths = {}, []
    for name, sizes in {"pool": SIZES | {"pooled_dim": POOLED}, "no-pool": SIZES}.items():
        path = model_files / f"ella/sdxl-{name}.safetensors"
        connector = plain_core.new_connector("tsc", device="meta", **sizes)
        connector.load_state_dict(random_models.random_weights(connector, seed=5, dtype=torch.float32), assign=True)
        plain_core.save_connector(connector, path, base="sdxl")
        paths.append(path)
        found[name] = host.run("LoadELLA", ella_name=path.name)[0], plain_core.load_connector(path).double()
    yield found
    for path in paths:
        path.unlink()


@pytest.fixture(scope="module")
def encoded(host, sdxl_clip):
    """CONDITIONING of CLIPTextEncodeSDXL with a size and a crop, for a positive and a negative prompt."""
    return tuple(
        host.run("CLIPTextEncodeSDXL", clip=sdxl_clip, text_g=text, text_l=text, **SCREEN)[0]
        for text in ("an oil painting", "blurry")
    )


def apply(host, model, ella, text_states, **clip):
    return host.run(
        "ELLAApplyConditioning", model=model, ella=ella, positive=text_states[0], negative=text_states[1], **clip
    )


def record(model):
    """Clone of a MODEL and the list of its UNet evaluations, (timestep, context, y) of one condition."""
    model, seen = model.clone(), []

    def wrapper(executor, x, timesteps, context, y, *args, **kwargs):
        options = args[1] if len(args) > 1 else kwargs["transformer_options"]
        count = len(options["cond_or_uncond"])
        for steps, tokens, vector in zip(timesteps.chunk(count), context.chunk(count), y.chunk(count)):
            seen.append((steps[0].item(), tokens.detach().clone(), vector.detach().clone()))
        return executor(x, timesteps, context, y, *args, **kwargs)

    model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "record", wrapper)
    return model, seen


def assert_exact(seen, oracle, text_states, pooled=True):
    """Tokens, and with `pooled` the pooled vector, are the oracle's at the evaluation's own timestep."""
    assert seen
    for timestep, context, y in seen:
        deviations = []
        for conditioning in text_states:
            tokens = oracle(conditioning[0][0].double(), torch.tensor([timestep]))
            deviation = relative(context[:, :QUERIES], tokens)
            if pooled:
                deviation = max(deviation, relative(y[:, :POOLED], oracle.pooled(tokens)))
            deviations.append(deviation)
        assert min(deviations) < CONTEXT


def forced(model, oracle, *text_states):
    """Clone of an unpatched MODEL whose UNet calls the connector anew for conditionings that `tagged` made."""
    model = model.clone()

    def wrapper(executor, x, timesteps, context, y, *args, **kwargs):
        context, y = context.clone(), y.clone()
        for row, step in enumerate(timesteps):
            tag = context[row, 0, 0].item()
            if tag in range(1, len(text_states) + 1):
                states = text_states[int(tag) - 1][0][0].double()
                tokens = oracle(states, step[None].cpu())
                context[row, :QUERIES] = tokens[0].to(context)
                if oracle.pool is not None:
                    y[row, :POOLED] = oracle.pooled(tokens)[0].to(y)
        return executor(x, timesteps, context, y, *args, **kwargs)

    model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "forced", wrapper)
    return model


def tagged(tag, conditioning=None):
    """CONDITIONING that `forced` replaces, with the options and after it the tokens of another one."""
    tokens, options = torch.full((1, QUERIES, 2048), float(tag)), {"pooled_output": torch.zeros(1, POOLED)}
    if conditioning is None:
        return [[tokens, options]]
    ((added, of_added),) = conditioning
    return [[torch.cat([tokens, added], dim=1), dict(of_added)]]


def test_the_host_knows_the_model_as_sdxl(sdxl, unet):
    assert type(sdxl.model) is comfy.model_base.SDXL
    assert type(sdxl.model.model_config).__name__ == "Segmind_Vega"


@pytest.mark.parametrize("scheduler", comfy.samplers.SCHEDULER_NAMES)
def test_every_evaluation_is_exact(host, sdxl, connectors, text_states, scheduler):
    ella, oracle = connectors["pool"]
    patched, positive, negative = apply(host, sdxl, ella, text_states)
    recorded, seen = record(patched)
    found = ksample(host, recorded, positive, negative, scheduler=scheduler)
    assert_exact(seen, oracle, text_states)
    assert len({timestep for timestep, _, _ in seen}) > 2
    expected = ksample(host, forced(sdxl, oracle, *text_states), tagged(1), tagged(2), scheduler=scheduler)
    assert relative(found, expected) < LATENT


@pytest.mark.parametrize("sampler", ["heun", "dpm_2", "dpmpp_2m_sde", "lcm"])
def test_samplers_at_denoise_a_half(host, sdxl, connectors, text_states, sampler):
    ella, oracle = connectors["pool"]
    patched, positive, negative = apply(host, sdxl, ella, text_states)
    recorded, seen = record(patched)
    ksample(host, recorded, positive, negative, sampler=sampler, scheduler="karras", denoise=0.5)
    assert_exact(seen, oracle, text_states)


@pytest.mark.parametrize("name", ["pool", "no-pool"])
def test_size_crop_and_pooled_output_of_clip(host, sdxl, connectors, text_states, encoded, name):
    """Size and crop are those of CLIPTextEncodeSDXL, its pooled output where the connector has no pool."""
    ella, oracle = connectors[name]
    patched, positive, negative = apply(
        host, sdxl, ella, text_states, clip_positive=encoded[0], clip_negative=encoded[1]
    )
    recorded, seen = record(patched)
    found = ksample(host, recorded, positive, negative)
    by_clip, clip_seen = record(sdxl)
    ksample(host, by_clip, *encoded)
    assert len(seen) == len(clip_seen) == 8
    assert_exact(seen, oracle, text_states, pooled=name == "pool")
    first = POOLED if name == "pool" else 0
    for (timestep, context, y), (clip_timestep, clip_context, clip_y) in zip(seen, clip_seen):
        assert timestep == clip_timestep
        assert torch.equal(context[:, QUERIES:], clip_context)
        assert y.shape == clip_y.shape == (1, SIZES_END) and torch.equal(y[:, first:], clip_y[:, first:])
    tags = [tagged(number, conditioning) for number, conditioning in enumerate(encoded, start=1)]
    assert relative(found, ksample(host, forced(sdxl, oracle, *text_states), *tags)) < LATENT


def test_size_is_the_picture_s_without_clip(host, sdxl, connectors, text_states):
    patched, positive, negative = apply(host, sdxl, connectors["pool"][0], text_states)
    recorded, seen = record(patched)
    ksample(host, recorded, positive, negative, image=latent(size=16), steps=1)
    expected, by_tag = record(sdxl)
    ksample(host, expected, tagged(1), tagged(2), image=latent(size=16), steps=1)
    assert torch.equal(seen[0][2][:, POOLED:], by_tag[0][2][:, POOLED:])


def test_zeros_with_a_warning(host, sdxl, connectors, text_states, encoded, caplog):
    ella, oracle = connectors["no-pool"]
    with caplog.at_level(logging.WARNING):
        patched, positive, negative = apply(host, sdxl, ella, text_states, clip_positive=encoded[0])
    (message,) = [record.getMessage() for record in caplog.records if "pooled vector" in record.getMessage()]
    assert "sdxl-no-pool.safetensors makes no pooled vector" in message and "its negative gets zeros" in message
    recorded, seen = record(patched)
    ksample(host, recorded, positive, negative, steps=1)
    assert_exact(seen, oracle, text_states, pooled=False)
    assert sorted(not y[:, :POOLED].any() for _, _, y in seen) == [False, True]


def test_no_warning_with_a_pool_or_on_other_models(host, sdxl, connectors, model, ella, text_states, caplog):
    with caplog.at_level(logging.WARNING):
        apply(host, sdxl, connectors["pool"][0], text_states)
        apply(host, model, ella, text_states)
    assert not [record for record in caplog.records if "pooled vector" in record.getMessage()]


def test_other_nodes_and_the_pooled_vector(host, sdxl, connectors, text_states, encoded):
    """What is zeroed stays zero, and what a CLIP conditioning brings along stays its own."""
    ella, oracle = connectors["pool"]
    patched, positive, negative = apply(host, sdxl, ella, text_states)
    (zeroed,) = host.run("ConditioningZeroOut", conditioning=negative)
    recorded, seen = record(patched)
    ksample(host, recorded, positive, zeroed, steps=2)
    of_zeroed = [(context, y) for _, context, y in seen if not context.any()]
    assert len(of_zeroed) == 2 and not any(y[:, :POOLED].any() for _, y in of_zeroed)
    assert_exact([one for one in seen if one[1].any()], oracle, text_states[:1])

    (joined,) = host.run("ConditioningConcat", conditioning_to=encoded[0], conditioning_from=positive)
    recorded, seen = record(patched)
    ksample(host, recorded, joined, negative, steps=1)
    pooled = encoded[0][0][1]["pooled_output"]
    assert sum(torch.equal(y[:, :POOLED], pooled) for _, _, y in seen) == 1


def test_a_pooled_output_that_went_through_numpy(host, sdxl, connectors, text_states):
    """As nodes that store conditionings do: it follows the timestep all the same."""
    ella, oracle = connectors["pool"]
    patched, positive, negative = apply(host, sdxl, ella, text_states)

    def stored(conditioning):
        ((tokens, options),) = conditioning
        pooled = torch.from_numpy(options["pooled_output"].numpy().copy())
        return [[torch.from_numpy(tokens.numpy().copy()), options | {"pooled_output": pooled}]]

    recorded, seen = record(patched)
    ksample(host, recorded, stored(positive), stored(negative), steps=3)
    assert_exact(seen, oracle, text_states)


VARIANTS = {
    "inpainting": {"in_channels": 9},
    "v-prediction": {"extra": {"v_pred": torch.zeros(0)}},
    "zero-terminal SNR": {"extra": {"v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}},
    "SSD-1B": {"transformer_depth": [0, 0, 2, 2, 4, 4], "transformer_depth_output": [0, 0, 0, 1, 1, 2, 4, 4, 4]},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_of_the_checkpoint(host, unet, connectors, text_states, encoded, name):
    ella, oracle = connectors["pool"]
    variant = unet(f"{name}.safetensors", **VARIANTS[name])
    assert isinstance(variant.model, comfy.model_base.SDXL)
    if "extra" in VARIANTS[name]:
        assert variant.model.model_type.name == "V_PREDICTION"
    patched, positive, negative = apply(host, variant, ella, text_states)
    recorded, seen = record(patched)
    found = ksample(host, recorded, positive, negative, steps=3, scheduler="sgm_uniform")
    assert_exact(seen, oracle, text_states)
    run = {"steps": 3, "scheduler": "sgm_uniform"}
    assert relative(found, ksample(host, forced(variant, oracle, *text_states), tagged(1), tagged(2), **run)) < LATENT
    counted, with_clip = record(variant)
    ksample(host, counted, *encoded, **run)
    assert [one[0] for one in seen] == [one[0] for one in with_clip]


def test_few_steps_as_lcm_and_lightning(host, sdxl, connectors, text_states):
    ella, oracle = connectors["pool"]
    patched, positive, negative = apply(host, sdxl, ella, text_states)
    (patched,) = host.run("ModelSamplingDiscrete", model=patched, sampling="lcm", zsnr=False)
    recorded, seen = record(patched)
    ksample(host, recorded, positive, negative, sampler="lcm", scheduler="sgm_uniform", cfg=1.0)
    assert len(seen) == 4
    assert_exact(seen, oracle, text_states[:1])


def test_lora(host, model_files, sdxl, connectors, text_states):
    ella, oracle = connectors["pool"]
    key = "diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k"
    generator = torch.Generator().manual_seed(3)
    weights = {
        f"{key}.lora_down.weight": torch.randn(4, 2048, generator=generator),
        f"{key}.lora_up.weight": torch.randn(320, 4, generator=generator),
    }
    path = model_files / "loras/sdxl.safetensors"
    path.parent.mkdir(exist_ok=True)
    save_file(weights, path)
    patched, positive, negative = apply(host, sdxl, ella, text_states)
    plain = ksample(host, patched, positive, negative, steps=2)
    (with_lora,) = host.run("LoraLoaderModelOnly", model=patched, lora_name=path.name, strength_model=1.0)
    recorded, seen = record(with_lora)
    assert relative(ksample(host, recorded, positive, negative, steps=2), plain) > 1e-3
    assert_exact(seen, oracle, text_states)
    path.unlink()


def test_controlnet_gets_tokens_and_pooled_vector(host, model_files, random_models, sdxl, connectors, text_states):
    ella, oracle = connectors["pool"]
    path = model_files / "controlnet/sdxl.safetensors"
    random_models.make_controlnet(str(path), dtype=torch.float32, **random_models.SDXL_CONTROLNET)
    (control_net,) = host.run("ControlNetLoader", control_net_name=path.name)
    patched, positive, negative = apply(host, sdxl, ella, text_states)
    plain = ksample(host, patched, positive, negative, steps=2)
    positive, negative = host.run(
        "ControlNetApplyAdvanced", positive=positive, negative=negative, control_net=control_net,
        image=torch.rand(1, 64, 64, 3, generator=torch.Generator().manual_seed(2)), strength=0.7, start_percent=0.0,
        end_percent=1.0,
    )  # fmt: skip
    seen = []

    def note(module, args, kwargs):
        rows = kwargs["timesteps"], kwargs["context"], kwargs["y"]
        seen.extend((float(step), row[None].clone(), y[None].clone()) for step, row, y in zip(*rows))

    handle = control_net.control_model.register_forward_pre_hook(note, with_kwargs=True)
    try:
        assert relative(ksample(host, patched, positive, negative, steps=2), plain) > 1e-3
    finally:
        handle.remove()
        path.unlink()
    assert len(seen) == 4
    assert_exact(seen, oracle, text_states)


def test_noise_levels_that_differ_within_a_batch(host, sdxl, connectors, text_states):
    """Each image gets the tokens and the pooled vector of its own timestep."""
    ella, oracle = connectors["pool"]
    patched, positive, negative = apply(host, sdxl, ella, text_states)
    recorded, seen = record(patched)
    sigmas = recorded.get_model_object("model_sampling").sigmas[torch.tensor([900, 20])]

    def one_evaluation(model, x, sigmas, extra_args=None, **kwargs):
        return model(x, per_image, **extra_args)

    per_image = sigmas.to(recorded.load_device)
    (guider,) = host.run("CFGGuider", model=recorded, positive=positive, negative=negative, cfg=6.0)
    empty = torch.zeros(2, 4, 8, 8)
    guider.sample(empty, empty, comfy.samplers.KSAMPLER(one_evaluation), sigmas)
    assert len(seen) == 2
    for _, context, y in seen:
        rows = [(step, row[None], vector[None]) for step, row, vector in zip((900, 20), context, y)]
        assert_exact(rows, oracle, text_states)


def fails(host, message, **inputs):
    with pytest.raises(ValueError, match=message) as error:
        host.run("ELLAApplyConditioning", **inputs)
    assert "\n" not in str(error.value) and str(error.value).endswith(".")


def test_wrong_pairings(host, sdxl, connectors, model, ella, text_states, clip_conds):
    positive = text_states[0]
    fails(
        host,
        r"\(SDXL\) attends to tokens of width 2048 and tiny.safetensors makes tokens of width 768",
        model=sdxl, ella=ella, positive=positive,
    )  # fmt: skip
    fails(
        host,
        r"\(BaseModel\) attends to tokens of width 768 and sdxl-pool.safetensors makes tokens of width 2048",
        model=model, ella=connectors["pool"][0], positive=positive,
    )  # fmt: skip
    fails(
        host,
        "clip_positive of Apply ELLA is 768 wide, and the model attends to tokens of width 2048",
        model=sdxl, ella=connectors["pool"][0], positive=positive, clip_positive=clip_conds[0],
    )  # fmt: skip


def test_a_pool_of_another_width(host, plain_core, model_files, sdxl, text_states):
    path = model_files / "ella/narrow.safetensors"
    plain_core.save_connector(plain_core.new_connector("tsc", **SIZES, pooled_dim=768), path)
    (narrow,) = host.run("LoadELLA", ella_name=path.name)
    path.unlink()
    fails(host, "makes a pooled vector of 768 numbers", model=sdxl, ella=narrow, positive=text_states[0])


def test_the_refiner(host, connectors, text_states):
    """The host's own class of it with the host's own configuration; the weights play no part."""
    import comfy.supported_models
    from comfy.model_patcher import ModelPatcher

    supported = comfy.supported_models.SDXLRefiner
    config = supported(dict(supported.unet_config, in_channels=4, disable_unet_model_creation=True))
    cpu = torch.device("cpu")
    refiner = ModelPatcher(config.get_model({}, ""), load_device=cpu, offload_device=cpu)
    assert type(refiner.model) is comfy.model_base.SDXLRefiner
    fails(
        host, "is SDXL's refiner", model=refiner, ella=connectors["pool"][0], positive=text_states[0]
    )  # fmt: skip


KINDS = {
    "mlp": ("mlp", {}),
    "resampler": ("resampler", {"depth": 1}),
    "deeper resampler": ("resampler", {"depth": 2}),
    "adaln-zero": ("adaln-zero", {"depth": 1, "time_dim": 64, "time_channels": 32}),
    "tsc": ("tsc", {"depth": 1, "time_dim": 64, "time_channels": 32}),
}


@pytest.fixture(scope="module")
def states_of_families(host, model_files, text_states):
    """CONDITIONINGs, positive and negative, that a T5, an encoder and a decoder read."""
    found = {"t5": text_states}
    for family in ("bert", "llama"):
        folder = model_files / f"ella_encoder/sdxl-{family}"
        make_language_model(folder, family)
        clip = host.run("LoadELLATextEncoder", text_encoder_name=folder.name)[0]
        found[family] = [
            host.run("ELLAT5TextEncode", clip=clip, text=text, max_length=0)[0] for text in (PROMPT, "blurry")
        ]
    return found


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_connector_with_every_kind_of_language_model(
    host, plain_core, random_models, model_files, sdxl, states_of_families, name
):
    kind, sizes = KINDS[name]
    path = model_files / "ella/sdxl-kind.safetensors"
    if kind != "mlp":
        sizes = sizes | {"num_heads": 8, "num_queries": QUERIES}
    connector = plain_core.new_connector(kind, width=2048, text_dim=32, device="meta", **sizes)
    connector.load_state_dict(random_models.random_weights(connector, seed=5, dtype=torch.float32), assign=True)
    plain_core.save_connector(connector, path, base="sdxl")
    ella, oracle = host.run("LoadELLA", ella_name=path.name)[0], plain_core.load_connector(path).double()
    for states in states_of_families.values():
        applied = apply(host, sdxl, ella, states)
        recorded, seen = record(applied[0])
        ksample(host, recorded, *applied[1:], steps=2)
        assert len(seen) == 4
        for timestep, context, _ in seen:
            tokens = [oracle(one[0][0].double(), torch.tensor([timestep])) for one in states]
            fitting = [one for one in tokens if one.shape == context.shape]
            assert min(relative(context, one) for one in fitting) < CONTEXT
    path.unlink()
