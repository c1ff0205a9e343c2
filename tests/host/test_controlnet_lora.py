"""ControlNet, LoRA and hook LoRAs beside ELLA."""

import pytest
import torch
from safetensors.torch import save_file
from sampling import LATENT, PROMPT, QUERIES, assert_exact, ksample, record_context, relative, tagged


@pytest.fixture(scope="module")
def control_net(host, model_files, random_models):
    """A ControlNet shaped for the small UNet."""
    path = model_files / "controlnet/tiny.safetensors"
    random_models.make_controlnet(str(path), dtype=torch.float32)
    return host.run("ControlNetLoader", control_net_name="tiny.safetensors")[0]


def control(host, positive, negative, control_net, start=0.0, end=1.0, strength=0.7):
    hint = torch.rand(1, 64, 64, 3, generator=torch.Generator().manual_seed(2))
    return host.run(
        "ControlNetApplyAdvanced",
        positive=positive, negative=negative, control_net=control_net, image=hint,
        strength=strength, start_percent=start, end_percent=end,
    )  # fmt: skip


class ControlContexts:
    """What the ControlNet itself attends to in each of its evaluations, read at its own network's input."""

    def __init__(self, control_net):
        self.seen = []
        self.handle = control_net.control_model.register_forward_pre_hook(self.record, with_kwargs=True)

    def record(self, module, args, kwargs):
        timesteps, context = kwargs["timesteps"], kwargs["context"]
        self.seen.extend((float(step), row[None].clone()) for step, row in zip(timesteps, context))

    def __enter__(self):
        return self.seen

    def __exit__(self, *error):
        self.handle.remove()


@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize("start, end", [(0.0, 1.0), (0.2, 0.7)])
def test_the_controlnets_own_context(
    host, model, ella, text_states, prompt_states, control_net, oracle, where, start, end
):
    apply = {"model": model, "ella": ella}
    if where == "before":
        positive, negative = control(host, *text_states, control_net, start, end)
        patched, positive, negative = host.run("ELLAApplyConditioning", **apply, positive=positive, negative=negative)
    else:
        patched, *conds = host.run("ELLAApplyConditioning", **apply, positive=text_states[0], negative=text_states[1])
        positive, negative = control(host, *conds, control_net, start, end)
    recorded, seen = record_context(patched)
    with ControlContexts(control_net) as controlled:
        ksample(host, recorded, positive, negative, steps=5)
    assert_exact(seen, oracle, *prompt_states)
    assert_exact(controlled, oracle, *prompt_states)
    assert len(controlled) == (10 if end == 1.0 else len(controlled)) and 0 < len(controlled) <= 10


def test_two_chained_controlnets_act(host, applied, control_net, prompt_states, oracle):
    plain = ksample(host, *applied, steps=3)
    once = control(host, *applied[1:], control_net, 0.0, 0.6)
    with ControlContexts(control_net) as seen:
        one = ksample(host, applied[0], *once, steps=3)
    count = len(seen)
    with ControlContexts(control_net) as seen:
        two = ksample(host, applied[0], *control(host, *once, control_net, 0.0, 1.0, 0.4), steps=3)
    assert_exact(seen, oracle, *prompt_states)
    assert len(seen) > count
    assert relative(one, plain) > 1e-3 and relative(two, one) > 1e-3


@pytest.fixture(scope="module")
def lora(model_files, checkpoint):
    """A LoRA on two layers of the UNet, one of which acts at every noise level, and one of CLIP."""
    generator = torch.Generator().manual_seed(9)
    layers = {
        "lora_unet_middle_block_1_transformer_blocks_0_attn2_to_q": (640, 640),
        "lora_unet_time_embed_2": (1280, 1280),
        "lora_te_text_model_encoder_layers_11_mlp_fc2": (3072, 768),
    }
    weights = {}
    for name, (inputs, outputs) in layers.items():
        weights[f"{name}.lora_down.weight"] = torch.randn(4, inputs, generator=generator) * 0.05
        weights[f"{name}.lora_up.weight"] = torch.randn(outputs, 4, generator=generator) * 0.5
        weights[f"{name}.alpha"] = torch.tensor(4.0)
    folder = model_files / "loras"
    folder.mkdir(exist_ok=True)
    save_file(weights, folder / "tiny.safetensors")
    return "tiny.safetensors"


def ella_and_clip(host, model, ella, text_states, clip):
    words = host.run("CLIPTextEncode", clip=clip, text="trigger words")[0]
    texts = {"positive": text_states[0], "negative": text_states[1], "clip_positive": words, "clip_negative": words}
    return host.run("ELLAApplyConditioning", model=model, ella=ella, **texts)


def contexts(host, patched, positive, negative):
    recorded, seen = record_context(patched)
    latents = ksample(host, recorded, positive, negative, steps=2)
    return latents, [context for _, context in seen]


def test_lora_strengths(host, checkpoint, ella, text_states, lora):
    """The model part changes the picture; the CLIP part changes the appended tokens and nothing of ELLA's."""
    model, clip, _ = checkpoint

    def with_lora(strength_model, strength_clip):
        loaded = host.run(
            "LoraLoader", model=model, clip=clip, lora_name=lora,
            strength_model=strength_model, strength_clip=strength_clip,
        )  # fmt: skip
        return contexts(host, *ella_and_clip(host, loaded[0], ella, text_states, loaded[1]))

    plain, plain_contexts = contexts(host, *ella_and_clip(host, model, ella, text_states, clip))
    on_model, on_model_contexts = with_lora(1.0, 0.0)
    on_clip, on_clip_contexts = with_lora(0.0, 1.0)
    assert relative(on_model, plain) > 1e-3 and relative(on_clip, plain) > 1e-5
    for plain_context, model_context, clip_context in zip(plain_contexts, on_model_contexts, on_clip_contexts):
        assert torch.equal(model_context, plain_context)
        assert torch.equal(clip_context[:, :QUERIES], plain_context[:, :QUERIES])
        assert relative(clip_context[:, QUERIES:], plain_context[:, QUERIES:]) > 1e-3


def test_lora_on_the_model_equals_brute_force(host, checkpoint, ella, text_states, lora, prompt_states, oracle):
    from sampling import brute_force

    def load(a_model):
        return host.run(
            "LoraLoader", model=a_model, clip=checkpoint[1], lora_name=lora, strength_model=0.8, strength_clip=1.0
        )[0]

    patched, positive, negative = host.run(
        "ELLAApplyConditioning", model=checkpoint[0], ella=ella, positive=text_states[0], negative=text_states[1]
    )
    expected = ksample(host, load(brute_force(checkpoint[0], oracle, *prompt_states)), tagged(1), tagged(2))
    assert relative(ksample(host, load(patched), positive, negative), expected) < LATENT


def test_lora_on_the_text_encoder_leaves_it_untouched(host, checkpoint, t5, lora):
    before = host.run("ELLAT5TextEncode", clip=t5, text=PROMPT, max_length=0)[0][0][0]
    loaded = host.run(
        "LoraLoader", model=checkpoint[0], clip=t5, lora_name=lora, strength_model=1.0, strength_clip=1.0
    )[1]
    assert torch.equal(host.run("ELLAT5TextEncode", clip=loaded, text=PROMPT, max_length=0)[0][0][0], before)


def keyframes(host, hooks):
    first = host.run("CreateHookKeyframe", strength_mult=0.0, start_percent=0.0)[0]
    second = host.run("CreateHookKeyframe", strength_mult=1.0, start_percent=0.5, prev_hook_kf=first)[0]
    return host.run("SetHookKeyframes", hooks=hooks, hook_kf=second)[0]


@pytest.mark.parametrize("scheduled", [False, True])
def test_hook_lora_with_keyframes(host, checkpoint, ella, text_states, prompt_states, forced, oracle, lora, scheduled):
    model = checkpoint[0]
    hooks = host.run("CreateHookLora", lora_name=lora, strength_model=1.0, strength_clip=1.0)[0]
    if scheduled:
        hooks = keyframes(host, hooks)

    def set_hooks(conditioning):
        return host.run(
            "ConditioningSetProperties", cond_NEW=conditioning, strength=1.0, set_cond_area="default", hooks=hooks
        )[0]

    before = host.run(
        "ELLAApplyConditioning", model=model, ella=ella, positive=set_hooks(text_states[0]), negative=text_states[1]
    )
    patched, positive, negative = host.run(
        "ELLAApplyConditioning", model=model, ella=ella, positive=text_states[0], negative=text_states[1]
    )
    expected = ksample(host, forced, set_hooks(tagged(1)), tagged(2))
    for a_model, a_positive, a_negative in (before, (patched, set_hooks(positive), negative)):
        recorded, seen = record_context(a_model)
        assert relative(ksample(host, recorded, a_positive, a_negative), expected) < LATENT
        assert_exact(seen, oracle, *prompt_states)
    assert relative(expected, ksample(host, forced, tagged(1), tagged(2))) > 1e-3


@pytest.mark.parametrize("schedule_clip", [False, True])
def test_clip_hooks_reach_the_appended_tokens(
    host, checkpoint, ella, text_states, oracle, prompt_states, lora, schedule_clip
):
    """A CLIP scheduled by hook keyframes gives one entry per keyframe; each joins the ELLA prompt in its own range."""
    model, clip, _ = checkpoint
    hooks = keyframes(host, host.run("CreateHookLora", lora_name=lora, strength_model=1.0, strength_clip=1.0)[0])
    hooked = host.run("SetClipHooks", clip=clip, apply_to_conds=True, schedule_clip=schedule_clip, hooks=hooks)[0]
    words = host.run("CLIPTextEncode", clip=hooked, text="trigger words")[0]
    patched, positive, negative = host.run(
        "ELLAApplyConditioning",
        model=model,
        ella=ella,
        positive=text_states[0],
        negative=text_states[1],
        clip_positive=words,
    )
    assert len(positive) == len(words)
    recorded, seen = record_context(patched)
    ksample(host, recorded, positive, negative)
    assert_exact(seen, oracle, *prompt_states)
    clip_recorded, clip_seen = record_context(model)
    ksample(
        host,
        clip_recorded,
        words,
        words[:1] if not schedule_clip else host.run("CLIPTextEncode", clip=clip, text="")[0],
    )
    assert len(seen) == len(clip_seen)


@pytest.mark.parametrize("schedule_clip", [False, True])
def test_hooks_on_the_text_encoder(host, checkpoint, ella, t5, text_states, oracle, prompt_states, lora, schedule_clip):
    """The T5 side is untouched by a LoRA; the hooks it carries act on the model."""
    hooks = host.run("CreateHookLora", lora_name=lora, strength_model=1.0, strength_clip=1.0)[0]
    hooked = host.run("SetClipHooks", clip=t5, apply_to_conds=True, schedule_clip=schedule_clip, hooks=hooks)[0]
    conditioning = host.run("ELLAT5TextEncode", clip=hooked, text=PROMPT, max_length=0)[0]
    patched, positive, negative = host.run(
        "ELLAApplyConditioning", model=checkpoint[0], ella=ella, positive=conditioning, negative=text_states[1]
    )
    recorded, seen = record_context(patched)
    ksample(host, recorded, positive, negative, steps=2)
    assert_exact(seen, oracle, *prompt_states)
