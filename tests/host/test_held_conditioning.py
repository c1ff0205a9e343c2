"""Nodes that keep a conditioning of Apply ELLA inside the MODEL: the UNet sees its tokens of each own timestep."""

import contextlib
import copy
import io
import weakref

import comfy.model_management
import pytest
import safetensors.torch
import torch
from sampling import CONTEXT, QUERIES, ksample, relative

SECOND = "a stone bridge over a river"


@pytest.fixture(scope="module")
def second(host, t5):
    return host.run("ELLAT5TextEncode", clip=t5, text=SECOND, max_length=0)[0]


@pytest.fixture(scope="module")
def chained(host, model, ella, text_states, second):
    """(MODEL, first prompt, second prompt) of two Apply ELLA in a row."""
    patched, first = host.run("ELLAApplyConditioning", model=model, ella=ella, positive=text_states[0])[:2]
    patched, held = host.run("ELLAApplyConditioning", model=patched, ella=ella, positive=second)[:2]
    return patched, first, held


@pytest.fixture(scope="module")
def tokens_at(oracle, text_states, second):
    """The float64 connector's tokens of the first or second prompt at a timestep."""
    states, known = {"first": text_states[0][0][0], "second": second[0][0]}, {}

    def tokens(prompt, timestep):
        if (prompt, timestep) not in known:
            known[prompt, timestep] = oracle(states[prompt].double(), torch.tensor([timestep]))
        return known[prompt, timestep]

    return tokens


def to_k_of(model):
    return model.model.diffusion_model.middle_block[1].transformer_blocks[0].attn2.to_k


def values(tensor):
    """What a tensor holds now, with nothing that a kind of its own would know of it."""
    return torch.from_numpy(tensor.numpy().copy())


@contextlib.contextmanager
def recorded_keys(model):
    """The list of (timestep, input of a cross-attention's to_k), filled while the UNet runs."""
    seen, timesteps = [], []
    unet = model.model.diffusion_model
    handles = [
        unet.register_forward_pre_hook(lambda _, args: timesteps.append(float(args[1][0]))),
        to_k_of(model).register_forward_pre_hook(lambda _, args: seen.append((timesteps[-1], values(args[0])))),
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def couple(model, make):
    """Clone of a MODEL whose cross-attention reads `make(k)` in place of its context k."""
    model = model.clone()

    def patch(q, k, v, options):
        context = make(k)
        return q, context, context

    model.set_model_attn2_patch(patch)
    return model


def for_each(tensor, k):
    return tensor.to(k).expand(len(k), -1, -1)


class Once:
    """Keeps what it made in the first evaluation, as packs do that move a conditioning to the device once."""

    def __init__(self, tensor):
        self.tensor, self.moved = tensor, False

    def __call__(self, k):
        if not self.moved:
            self.tensor, self.moved = self.tensor.to(k.device, torch.float64).to(k), True
        return self.tensor.expand(len(k), -1, -1)


def written(tensor):
    copy = tensor.clone()
    copy[:, 1:3] = 0
    copy *= 0.5
    return copy


def noised(tensor):
    torch.manual_seed(5)
    return tensor + torch.randn_like(tensor, dtype=torch.float32)


# What a node makes of the tensor when it is queued, and the same of the tokens of a timestep.
MADE = {
    "as it is": lambda t: t,
    "copied deeply": copy.deepcopy,
    "copied": copy.copy,
    "cast": lambda t: t.to(torch.float64).float().contiguous(),
    "repeated": lambda t: t.repeat(1, 2, 1),
    "concatenated": lambda t: torch.cat([t, t[:, :5], t.new_zeros(1, 3, 768)], dim=1),
    "chunked": lambda t: torch.cat(t.chunk(2, dim=1)[::-1], dim=1),
    "iterated": lambda t: torch.stack([image[:7] for image in t]),
    "indexed": lambda t: t[:, torch.arange(QUERIES - 1, -1, -1)],
    "scaled": lambda t: t * 0.7 / t.abs().max(),
    "written into": written,
    "noised": noised,
}


@pytest.mark.parametrize("name", MADE)
def test_what_was_made_of_it_before(host, chained, tokens_at, name):
    patched, first, held = chained
    tensor = MADE[name](held[0][0])
    with recorded_keys(patched) as seen:
        ksample(host, couple(patched, lambda k: for_each(tensor, k)), first, first, steps=2, cfg=1.0)
    assert len({timestep for timestep, _ in seen}) == 2
    for timestep, found in seen:
        assert relative(found, MADE[name](tokens_at("second", timestep))) < CONTEXT


def test_moved_once_in_the_first_evaluation(host, chained, tokens_at):
    patched, first, held = chained
    with recorded_keys(patched) as seen:
        ksample(host, couple(patched, Once(held[0][0])), first, first, steps=3, cfg=1.0)
    assert len(seen) == 3
    for timestep, found in seen:
        assert relative(found, tokens_at("second", timestep)) < CONTEXT


def test_beside_the_context_of_the_evaluation(host, chained, tokens_at):
    """As attention couple does it: the evaluation's own context and the kept one in a batch."""
    patched, first, held = chained

    def both(k):
        return torch.cat([k[:, :32], held[0][0].to(k)[:, :32]], dim=1)

    with recorded_keys(patched) as seen:
        ksample(host, couple(patched, both), first, first, steps=2, cfg=1.0)
    for timestep, found in seen:
        expected = [tokens_at(prompt, timestep)[:, :32] for prompt in ("first", "second")]
        assert relative(found, torch.cat(expected, dim=1)) < CONTEXT


def test_keys_computed_before(host, chained, tokens_at):
    """Some nodes apply the UNet's own to_k to a conditioning when they are queued."""
    patched, first, held = chained
    keys, seen = to_k_of(patched)(held[0][0]), []

    def patch(q, k, v, options):
        seen.append((float(patched.model.model_sampling.timestep(options["sigmas"])), values(keys.repeat(2, 1, 1))))
        return q, k, v

    keeping = patched.clone()
    keeping.set_model_attn2_patch(patch)
    ksample(host, keeping, first, first, steps=2, cfg=1.0)
    weight = to_k_of(patched).weight.double()
    assert len({timestep for timestep, _ in seen}) == 2
    for timestep, found in seen:
        expected = torch.nn.functional.linear(tokens_at("second", timestep), weight)
        assert relative(found, expected.expand_as(found)) < CONTEXT


def test_in_inference_mode(host, model, ella, text_states, tokens_at):
    """The executor queues and samples in it."""
    with torch.inference_mode():
        patched, first = host.run("ELLAApplyConditioning", model=model, ella=ella, positive=text_states[0])[:2]
        held = written(first[0][0])
        with recorded_keys(patched) as seen:
            ksample(host, couple(patched, lambda k: for_each(held, k)), first, first, steps=2, cfg=1.0)
    assert len(seen) == 2
    for timestep, found in seen:
        assert relative(found, written(tokens_at("first", timestep))) < CONTEXT


def through_a_view(tensor):
    copy = tensor.clone()
    for row in copy[0]:
        row *= 0.5
    return copy


@pytest.mark.parametrize(
    "change", [through_a_view, lambda t: t.clone().normal_(), lambda t: torch.dropout(t, 0.5, train=True)]
)
def test_what_can_not_be_done_again_is_refused(host, chained, change):
    patched, first, held = chained
    tensor = change(held[0][0])
    with pytest.raises(ValueError, match="wire such a node between"):
        ksample(host, couple(patched, lambda k: for_each(tensor, k)), first, first, steps=1, cfg=1.0)


def test_writing_into_a_fixed_tensor_is_refused(chained):
    fixed = torch.zeros(1, 2 * QUERIES, 768)
    with pytest.raises(ValueError, match="wire such a node between"):
        fixed[:, :QUERIES] = chained[2][0][0]


def test_held_by_a_model_without_apply_ella_is_refused(host, model, chained, clip_conds):
    held = chained[2][0][0]
    with pytest.raises(ValueError, match="every node that takes both a MODEL and this conditioning"):
        ksample(host, couple(model, lambda k: for_each(held, k)), *clip_conds, steps=1, cfg=1.0)


def test_several_devices(host, chained, tokens_at, monkeypatch):
    """The host's multi-GPU split, with the processor named twice as two devices."""
    patched, first, held = chained
    if not hasattr(patched, "deepclone_multigpu"):
        pytest.skip("this host has no multi-GPU split")
    devices = [torch.device("cpu"), torch.device("cpu:0")]
    monkeypatch.setattr(
        comfy.model_management, "get_all_torch_devices", lambda exclude_current=False: devices[exclude_current:]
    )
    coupled = couple(patched, lambda k: for_each(held[0][0], k))
    split = host.run("MultiGPU_WorkUnits", model=coupled, max_gpus=2)[0]
    (clone,) = split.get_additional_models_with_key("multigpu")
    with recorded_keys(split) as seen, recorded_keys(clone) as seen_by_clone:
        ksample(host, split, first, first, steps=2)
    assert len(seen) == len(seen_by_clone) == 2
    for timestep, found in seen + seen_by_clone:
        assert relative(found, tokens_at("second", timestep)) < CONTEXT


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled_model(host, chained, tokens_at, monkeypatch, backend):
    """torch.compile breaks its graph at the kept tensor, and no evaluation's tokens are compiled in."""
    patched, first, held = chained
    coupled = couple(patched, lambda k: for_each(held[0][0], k))
    compile_model = torch.compile
    monkeypatch.setattr(torch, "compile", lambda model, **options: compile_model(model, backend=backend))
    compiled = host.run("TorchCompileModel", model=coupled, backend="inductor")[0]
    found, plain = (ksample(host, model, first, first, steps=3, cfg=1.0) for model in (compiled, coupled))
    assert relative(found, plain) < CONTEXT


def test_a_run_keeps_nothing_of_it(host, chained):
    """What an evaluation computed goes with it, also where a node keeps what it made in the first."""
    patched, first, held = chained
    made, numbers = [], []

    def keep(k):
        tensor = held[0][0].to(k.device, torch.float64).to(k)
        made.append(weakref.ref(tensor))
        numbers.append(tensor.moment)
        return tensor.expand(len(k), -1, -1)

    ksample(host, couple(patched, keep), first, first, steps=2, cfg=1.0)
    assert len(set(numbers)) == 2
    assert not any(tensor() is not None for tensor in made)


def test_files_hold_an_ordinary_tensor(chained, tmp_path):
    tensor = chained[2][0][0]
    buffer = io.BytesIO()
    torch.save(tensor, buffer)
    buffer.seek(0)
    safetensors.torch.save_file({"tokens": tensor}, tmp_path / "tokens.safetensors")
    for loaded in (
        torch.load(buffer, weights_only=True),
        safetensors.torch.load_file(tmp_path / "tokens.safetensors")["tokens"],
    ):
        assert type(loaded) is torch.Tensor
        assert torch.equal(loaded, values(tensor))
