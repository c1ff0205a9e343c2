"""The seams that ELLA uses, tried in this very ComfyUI: small random models are sampled, and what they see compared."""

import copy
import time

import comfy.controlnet
import comfy.sample
import torch
from comfy.patcher_extension import WrappersMP

import nodes

from ...errors import ELLAError
from ..apply import apply_ella
from ..conditioning import text_states_mark
from .small_models import QUERIES, TEXT_DIM, WIDTH, small_connector, small_unet

# One side computes in float32, the other in float64; tokens of ten timesteps away differ by more than a half.
TOLERANCE = 1e-3
STEPS = 3
LENGTHS = 7, 5  # of the two prompts' text states


class Broken(Exception):
    """What did not hold, in a few words."""


class SelfTest:
    """Small models with Apply ELLA, and the connector in float64 as their oracle."""

    def __init__(self):
        generator = torch.Generator().manual_seed(2)
        self.unet, ella = small_unet(), small_connector()
        self.oracle = copy.deepcopy(ella.model).to("cpu", torch.float64)
        self.states = [torch.randn(1, length, TEXT_DIM, generator=generator) for length in LENGTHS]
        self.clip_tokens = torch.randn(1, 6, WIDTH, generator=generator)
        self.prompts = [[[states, {"pooled_output": None} | text_states_mark()]] for states in self.states]
        self.model, self.positive, self.negative = apply_ella(self.unet, ella, *self.prompts)
        self.timestep = None

    def sample(self, positive, negative, model=None, sampler="heun", images=1):
        """[(timestep, context (T, W))] of each image and condition that the UNet evaluated in a run."""
        model, seen = (model or self.model).clone(), []

        def record(executor, x, timesteps, context, *args, **kwargs):
            self.timestep = float(timesteps[0])  # of the evaluation that is going on
            seen.extend(zip(timesteps.tolist(), context.cpu().unbind()))
            return executor(x, timesteps, context, *args, **kwargs)

        model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "ella_self_test", record)
        noise = torch.randn(images, 4, 8, 8, generator=torch.Generator().manual_seed(3))
        run = (model, noise, STEPS, 3.0, sampler, "karras", positive, negative, torch.zeros_like(noise))
        comfy.sample.sample(*run, disable_pbar=True, seed=4)
        return seen

    def check_tokens(self, seen, tokens=QUERIES, prompts=(0, 1)):
        """Raises Broken unless each context has `tokens` of them, a prompt's of its own timestep first or last.

        `prompts` are those that must have been seen. Returns what the contexts hold beside the prompts' tokens.
        """
        found, others = set(), []
        for timestep, context in seen:
            require(len(context) == tokens, f"{len(context)} tokens instead of {tokens} at timestep {timestep:.0f}")
            places = (context[:QUERIES], context[QUERIES:]), (context[-QUERIES:], context[:-QUERIES])
            deviation, prompt, other = min(
                (
                    (self.deviation(own, states, timestep), prompt, other)
                    for own, other in places
                    for prompt, states in enumerate(self.states)
                ),
                key=lambda one: one[0],
            )
            require(deviation < TOLERANCE, f"tokens differ by {deviation:.1g} at timestep {timestep:.0f}")
            found.add(prompt)
            others.append(other)
        require(found == set(prompts), f"prompts {sorted(found)} were seen instead of {list(prompts)}")
        return others

    def deviation(self, tokens, states, timestep):
        expected = self.oracle(states.double(), torch.tensor([timestep], dtype=torch.float64))[0]
        return float((tokens.double() - expected).abs().max() / expected.abs().max())


def every_evaluation(test):
    for sampler in ("euler", "heun", "dpmpp_2m"):
        test.check_tokens(test.sample(test.positive, test.negative, sampler=sampler))


def batch(test):
    test.check_tokens(test.sample(test.positive, test.negative, images=3))


def concat(test):
    clip = [[test.clip_tokens, {"pooled_output": None}]]
    node = nodes.ConditioningConcat()
    for one, other in ((test.positive, clip), (clip, test.positive)):
        (joined,) = node.concat(one, other)
        others = test.check_tokens(test.sample(joined, joined), QUERIES + test.clip_tokens.shape[1], prompts=(0,))
        require(all(torch.equal(one, test.clip_tokens[0]) for one in others), "CLIP's tokens were changed")


def kept_in_the_model(test):
    """As attention couple does: a prompt's tensor that a patch of the MODEL hands to each cross-attention."""
    held, model, used = test.negative[0][0], test.model.clone(), []
    model.set_model_attn2_patch(lambda q, k, v, options: (q, *[held.to(k).expand(len(k), -1, -1)] * 2))
    layers = [layer for name, layer in model.model.diffusion_model.named_modules() if name.endswith("attn2.to_k")]
    hooks = [
        # As numbers, since the tensor itself follows the timestep.
        layer.register_forward_pre_hook(lambda _, args: used.extend((test.timestep, one) for one in args[0].tolist()))
        for layer in layers
    ]
    try:
        test.sample(test.positive, test.negative, model=model)
    finally:
        for hook in hooks:
            hook.remove()
    test.check_tokens([(timestep, torch.tensor(context)) for timestep, context in used], prompts=(1,))


class SeenByControlNet(comfy.controlnet.ControlBase):
    """A ControlNet that adds nothing and keeps the contexts it is given."""

    contexts = None

    def get_control(self, x_noisy, t, cond, batched_number, *args, **kwargs):
        self.contexts.extend(cond["c_crossattn"].cpu().unbind())

    def get_models(self):
        return []


def controlnet(test):
    control = SeenByControlNet()
    control.contexts = []
    options = {"control": control, "control_apply_to_uncond": False}
    sides = [[[tokens, kept | options] for tokens, kept in side] for side in (test.positive, test.negative)]
    seen = test.sample(*sides)
    test.check_tokens(seen)
    known = [context for _, context in seen]
    same = all(any(torch.equal(context, other) for other in known) for context in control.contexts)
    require(same and len(control.contexts) == len(known), "the ControlNet got other tokens than the UNet")


def unpatched_model(test):
    refused(
        lambda: test.sample(test.positive, test.negative, model=test.unet), "a model without Apply ELLA was sampled"
    )
    refused(lambda: test.sample(*test.prompts, model=test.unet), "text states were sampled without Apply ELLA")


def refused(run, otherwise):
    try:
        run()
    except ELLAError:
        return
    raise Broken(otherwise)


def require(held, otherwise):
    """Raises Broken with a sentence where something did not hold."""
    if not held:
        raise Broken(otherwise)


CHECKS = {
    "tokens exact at every evaluation": every_evaluation,
    "ControlNet sees the same tokens": controlnet,
    "images of a batch": batch,
    "Concat with CLIP, either way round": concat,
    "a prompt that a node keeps in the MODEL": kept_in_the_model,
    "a model without Apply ELLA is refused": unpatched_model,
}


def self_test():
    """A line for each seam, whether it held and what happened otherwise; less than five seconds on a CPU."""
    start = time.perf_counter()
    try:
        test = SelfTest()
    except Exception as error:  # whatever has changed in the host is what the page is for
        return [f"could not be tried: {cause(error)}"]
    lines = []
    for name, check in CHECKS.items():
        try:
            check(test)
            lines.append(f"{name}: held")
        except Exception as error:
            lines.append(f"{name}: DID NOT HOLD: {cause(error)}")
    return [*lines, f"took {time.perf_counter() - start:.1f} s"]


def cause(error):
    """An error in a line; its kind where it is none of ours."""
    kind = "" if isinstance(error, (Broken, ELLAError)) else f"{type(error).__name__}: "
    return f"{kind}{error}"
