"""Connectors of every kind in the sampler: exact at every evaluation, no more of them than with CLIP, map, page."""

import csv
import io
from pathlib import Path

import pytest
import torch
from sampling import (
    LATENT,
    PROMPT,
    assert_exact,
    brute_force,
    ksample,
    latent,
    record_context,
    relative,
    tagged,
)

BLOCKS = {"depth": 2, "num_heads": 8}
SIZES = {
    "mlp": {},
    "resampler": BLOCKS | {"num_queries": 40},
    "adaln-zero": BLOCKS | {"num_queries": 64},
    "tsc": BLOCKS | {"num_queries": 77},
}
SHORT = "blurry"


class Applied:
    """A connector of one kind, applied; `oracle` is the same in float64, loaded by the core without a host."""

    def __init__(self, host, plain_core, random_weights, model, text_states, kind):
        self.kind, self.model, self.text_states = kind, model, text_states
        self.name = f"{kind}.safetensors"
        path = host.models / "ella" / self.name
        connector = plain_core.new_connector(kind, text_dim=32, device="meta", **SIZES[kind])
        connector.load_state_dict(random_weights(connector, seed=8, dtype=torch.float32), assign=True)
        encoder = {"architecture": "t5", "hidden_size": 32, "name": "a small T5"}
        plain_core.save_connector(connector, path, base="sd15", text_encoder=encoder)
        self.ella = host.run("LoadELLA", ella_name=self.name)[0]
        self.oracle = plain_core.load_connector(path).double()
        self.states = tuple(conditioning[0][0] for conditioning in text_states)
        self.model_and_prompts = self.apply(host, *text_states)

    def apply(self, host, positive, negative=None, **clip):
        return host.run(
            "ELLAApplyConditioning", model=self.model, ella=self.ella, positive=positive, negative=negative, **clip
        )

    def count(self, states):
        return self.oracle(states.double(), torch.tensor([0])).shape[1]

    def tags(self):
        return tuple(tagged(number, self.count(states)) for number, states in enumerate(self.states, start=1))


@pytest.fixture(scope="module", params=SIZES)
def applied(request, host, plain_core, random_models, model, text_states):
    found = Applied(host, plain_core, random_models.random_weights, model, text_states, request.param)
    yield found
    (host.models / "ella" / found.name).unlink()


RUNS = [
    ("euler", "normal", 1.0),
    ("heun", "karras", 1.0),
    ("dpmpp_2m_sde", "kl_optimal", 0.5),
    ("dpm_2", "exponential", 1.0),  # evaluates between the steps
]


@pytest.mark.parametrize("sampler, scheduler, denoise", RUNS)
def test_every_evaluation_is_exact(host, applied, sampler, scheduler, denoise):
    run = {"sampler": sampler, "scheduler": scheduler, "denoise": denoise}
    patched, positive, negative = applied.model_and_prompts
    recorded, seen = record_context(patched)
    found = ksample(host, recorded, positive, negative, **run)
    assert_exact(seen, applied.oracle, *applied.states)
    forced = brute_force(applied.model, applied.oracle, *applied.states)
    assert relative(found, ksample(host, forced, *applied.tags(), **run)) < LATENT


@pytest.mark.parametrize("sampler", ["euler", "heun"])
def test_as_many_evaluations_as_with_clip(host, applied, clip_conds, sampler):
    counts = []
    for a_model, positive, negative in (applied.model_and_prompts, (applied.model, *clip_conds)):
        recorded, seen = record_context(a_model)
        ksample(host, recorded, positive, negative, sampler=sampler)
        counts.append([timestep for timestep, _ in seen])
    assert counts[0] == counts[1]


@pytest.mark.parametrize("steps", [3, 9])
def test_one_forward_for_each_prompt_and_run(host, applied, steps):
    """In one batch of all steps where the connector reads time, and a batch of one where it does not."""
    batches = []
    hook = applied.ella.model.connector.register_forward_hook(lambda module, inputs, out: batches.append(len(out)))
    try:
        ksample(host, *applied.model_and_prompts, steps=steps)
        ksample(host, *applied.model_and_prompts, steps=steps, seed=4)
    finally:
        hook.remove()
    assert batches == [steps if applied.oracle.reads_time else 1] * 4


def test_clip_tokens_are_appended(host, applied, clip_conds):
    patched, positive, negative = applied.apply(
        host, *applied.text_states, clip_positive=clip_conds[0], clip_negative=clip_conds[1]
    )
    recorded, seen = record_context(patched)
    found = ksample(host, recorded, positive, negative)
    assert_exact(seen, applied.oracle, *applied.states)
    both = [
        host.run("ConditioningConcat", conditioning_to=tag, conditioning_from=clip)[0]
        for tag, clip in zip(applied.tags(), clip_conds)
    ]
    forced = brute_force(applied.model, applied.oracle, *applied.states)
    assert relative(found, ksample(host, forced, *both)) < LATENT


def test_other_nodes_after_apply_ella(host, applied, clip_conds):
    """Concat either way round, zero out and an area, as with the released kind."""
    patched, positive, negative = applied.model_and_prompts
    forced = brute_force(applied.model, applied.oracle, *applied.states)
    tags = applied.tags()

    def concat(first, second):
        return host.run("ConditioningConcat", conditioning_to=first, conditioning_from=second)[0]

    expected = ksample(host, forced, concat(tags[0], clip_conds[0]), tags[1])
    for joined in (concat(positive, clip_conds[0]), concat(clip_conds[0], positive)):
        assert relative(ksample(host, patched, joined, negative), expected) < LATENT

    def zeroed(conditioning):
        return host.run("ConditioningZeroOut", conditioning=conditioning)[0]

    expected = ksample(host, forced, tags[0], zeroed(tags[1]))
    assert relative(ksample(host, patched, positive, zeroed(negative)), expected) < LATENT


def test_several_images(host, applied):
    patched, positive, negative = applied.model_and_prompts
    forced = brute_force(applied.model, applied.oracle, *applied.states)
    found = ksample(host, patched, positive, negative, image=latent(batch=3))
    assert relative(found, ksample(host, forced, *applied.tags(), image=latent(batch=3))) < LATENT


def batched(*states):
    """Text states of several prompts in one conditioning, zeros after the shorter, as nodes for videos make them."""
    length = max(one.shape[1] for one in states)
    padded = [torch.nn.functional.pad(one, (0, 0, 0, length - one.shape[1])) for one in states]
    return [[torch.cat(padded), {"pooled_output": torch.zeros(len(states), 32)}]]


def test_a_prompt_for_each_image(host, applied, t5):
    """Each image of a batch gets its own prompt's tokens; those of an MLP must be as many for each."""
    texts = ("a red fox", "a blue teapot")
    length = 12 if applied.kind == "mlp" else 0
    states = [host.run("ELLAT5TextEncode", clip=t5, text=text, max_length=length)[0][0][0] for text in texts]
    patched, positive, negative = applied.apply(host, batched(*states), applied.text_states[1])
    recorded, seen = record_context(patched)
    ksample(host, recorded, positive, negative, image=latent(batch=2))
    assert len(seen) == 8
    images = [(timestep, image) for timestep, context in seen for image in context.split(1)]
    assert_exact(images, applied.oracle, *states, applied.states[1])


def test_prompts_of_different_lengths_in_one_conditioning(host, applied):
    states = batched(*applied.states)
    if applied.kind == "mlp":
        with pytest.raises(ValueError, match="makes as many tokens as a prompt has") as error:
            applied.apply(host, states)
        assert "\n" not in str(error.value) and str(error.value).endswith(".")
    else:
        assert applied.apply(host, states)[1][0][0].shape[0] == 2


def test_several_devices_equal_one(host, applied, monkeypatch):
    """The host's multi-GPU split, with the processor named twice as two devices."""
    import comfy.model_management

    patched, positive, negative = applied.model_and_prompts
    if not hasattr(patched, "deepclone_multigpu"):
        pytest.skip("this host has no multi-GPU split")
    expected = ksample(host, patched, positive, negative)
    devices = [torch.device("cpu"), torch.device("cpu:0")]
    monkeypatch.setattr(
        comfy.model_management, "get_all_torch_devices", lambda exclude_current=False: devices[exclude_current:]
    )
    # ComfyUI 0.27's node stumbles over models of earlier tests whose patcher is gone.
    loaded = comfy.model_management.current_loaded_models
    loaded[:] = [one for one in loaded if one.model is not None]
    split = host.run("MultiGPU_WorkUnits", model=patched, max_gpus=2)[0]
    assert relative(ksample(host, split, positive, negative), expected) < LATENT


def test_the_attention_map(host, applied, t5):
    inputs = {"clip": t5, "ella": applied.ella, "text": PROMPT, "max_length": 0, "steps": 3}
    if applied.kind == "mlp":
        with pytest.raises(ValueError, match="mlp.safetensors has no attention, since .*; use a connector of another"):
            host.run("ELLAAttentionMap", **inputs, blocks="all", heads="all")
        return
    picture, text = host.run("ELLAAttentionMap", **inputs, blocks="2", heads="1-4")
    assert picture.shape[0] == 1 and picture.shape[2:] == (1024, 3)
    _, *rows = csv.reader(io.StringIO(text))
    rows = torch.tensor([[float(value) for value in row] for row in rows], dtype=torch.float64)
    entered = []
    attention = applied.oracle.attentions()[1]
    hook = attention.register_forward_pre_hook(lambda module, inputs: entered.append(inputs))
    theirs = torch.nn.MultiheadAttention(768, 8, batch_first=True, dtype=torch.float64)
    theirs.load_state_dict(attention.state_dict())
    with torch.no_grad():
        for row in rows:
            applied.oracle(applied.states[0].double(), row[:1])
            queries, keys = entered.pop()
            weights = theirs(queries, keys, keys, average_attn_weights=False)[1][0, :4].mean(dim=(0, 1))
            count = applied.oracle.config.num_queries
            # The CSV has the end token, the padding and the queries last; float32 against float64, six digits.
            assert abs(row[-1] - weights[:count].sum()) < 1e-4
            assert abs(row[1:-3].sum() - weights[count:-1].sum()) < 1e-4
    hook.remove()
    same_rows = torch.equal(rows[0, 1:], rows[1, 1:])
    assert same_rows == (not applied.oracle.reads_time)


def test_diagnose_says_what_it_is(host, applied):
    page = host.run("ELLADiagnose", ella=applied.ella)[0]
    count = getattr(applied.oracle.config, "num_queries", None)
    makes = f"{count} tokens of width 768" if count else "a token for each one that the prompt has, all of width 768"
    described = f"{applied.kind}, reads text states of width 32, makes {makes}"
    stated = 'made for sd15, trained with "a small T5" in float16'
    lines = [line.strip() for line in page.split("\n")]
    for start in (f"ella: {applied.name}, ", f"{applied.name}: "):
        assert any(line.startswith(start) and described in line and stated in line for line in lines)


def test_the_patch_knows_no_kind(host):
    """Of the pack's code for the host, only Diagnose tells kinds apart."""
    folder = Path(__file__).resolve().parents[2] / "ella_core/host"
    kinds = host.core("connectors.kinds").KINDS
    words = [word for kind in kinds for word in (f'"{kind.name}"', kind.network.__name__, kind.config.__name__)]
    for path in folder.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert not [word for word in words if word in text], path.name
