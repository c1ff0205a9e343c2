"""The loss of a step against the papers' formulas, its gradient against finite differences, and what chance decides."""

import dataclasses

import pytest
import torch
from small_parts import TEXT_DIM, WIDTH, SmallBase, small_connector

from ella_core.connectors.kinds import KINDS, new_connector
from training.base import stable_diffusion_alphas_cumprod
from training.batch import Batch
from training.draws import Draws, draw
from training.errors import TrainingError
from training.loss import Conditioner, add_noise, drop_prompts, losses, min_snr_weights

ALPHAS = stable_diffusion_alphas_cumprod()


def some_batch(count=3, length=4, dtype=torch.float32):
    generator = torch.Generator().manual_seed(2)
    latents = torch.randn(count, 4, 4, 4, generator=generator, dtype=dtype)
    return Batch(latents, torch.randn(count, length, TEXT_DIM, generator=generator, dtype=dtype))


def test_the_schedule_is_stable_diffusion_s():
    """Its published ends, as in diffusers' scheduler_config.json of Stable Diffusion 1.5 (beta_start, beta_end)."""
    betas = 1 - ALPHAS / torch.cat([torch.ones(1, dtype=torch.float64), ALPHAS[:-1]])
    assert betas[0] == pytest.approx(0.00085) and betas[-1] == pytest.approx(0.012)
    assert (1 - ALPHAS[-1]) / ALPHAS[-1] == pytest.approx(14.6146**2, rel=1e-4)  # the host's largest sigma


@pytest.mark.parametrize("prediction", ["eps", "v"])
def test_noise_and_target_give_the_picture_back(prediction):
    batch, timesteps = some_batch(dtype=torch.float64), torch.tensor([0, 400, 999])
    noise = torch.randn(batch.latents.shape, dtype=torch.float64)
    noisy, target = add_noise(batch.latents, noise, ALPHAS, timesteps, prediction)
    a = ALPHAS[timesteps][:, None, None, None]
    picture = (noisy - (1 - a).sqrt() * target) / a.sqrt() if prediction == "eps" else None
    if prediction == "v":
        picture = a.sqrt() * noisy - (1 - a).sqrt() * target
    assert torch.allclose(picture, batch.latents, atol=1e-12)


@pytest.mark.parametrize("prediction", ["eps", "v"])
@pytest.mark.parametrize("kind", [kind.name for kind in KINDS])
def test_the_gradient_equals_finite_differences(kind, prediction):
    """In float64, along random directions; central differences of 1e-5 leave an error of their square."""
    base, connector = SmallBase(prediction), small_connector(kind).double()
    base.module.double()
    with torch.no_grad():
        for weight in connector.parameters():
            weight += 0.05 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    batch = some_batch(dtype=torch.float64)
    draws = draw(1, 2, 0, batch.latents.shape, drop_prompt=0.5)
    conditioner, empty = Conditioner(connector), torch.ones(1, 4, TEXT_DIM, dtype=torch.float64)

    def loss():
        return losses(base, conditioner, batch, draws, empty, min_snr=5.0).mean()

    parameters = list(connector.parameters())
    gradients = torch.autograd.grad(loss(), parameters)
    generator = torch.Generator().manual_seed(4)
    for weight, gradient in zip(parameters, gradients):
        direction = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            weight += 1e-5 * direction
            above = loss()
            weight -= 2e-5 * direction
            below = loss()
            weight += 1e-5 * direction
        expected = (above - below) / 2e-5
        assert (gradient * direction).sum().item() == pytest.approx(expected.item(), rel=1e-5, abs=1e-9)


def test_each_picture_has_its_own_timestep_in_unet_and_connector():
    """The losses of a batch are those of its pictures one by one (float32 rounding of batched products)."""
    base, batch = SmallBase(), some_batch()
    conditioner, empty = Conditioner(small_connector()), torch.zeros(1, 4, TEXT_DIM)
    draws = Draws(torch.tensor([5, 500, 990]), torch.randn(batch.latents.shape), torch.tensor([False, True, False]))
    together = losses(base, conditioner, batch, draws, empty)
    for row in range(3):
        one = Batch(batch.latents[row : row + 1], batch.text_states[row : row + 1])
        alone = Draws(*(getattr(draws, field.name)[row : row + 1] for field in dataclasses.fields(Draws)))
        assert losses(base, conditioner, one, alone, empty).item() == pytest.approx(together[row].item(), rel=1e-5)
    other = Draws(torch.tensor([6, 500, 990]), draws.noise, draws.dropped)
    assert losses(base, conditioner, batch, other, empty)[1:].tolist() == pytest.approx(together[1:].tolist())


def test_min_snr_weights_are_the_paper_s():
    """By arXiv 2303.09556: 1 where the SNR is below gamma and noise is predicted, gamma / SNR above."""
    timesteps = torch.tensor([0, 999])
    eps, v = (min_snr_weights(ALPHAS, timesteps, prediction, 5.0) for prediction in ("eps", "v"))
    snr = ALPHAS[timesteps] / (1 - ALPHAS[timesteps])
    assert eps.tolist() == pytest.approx([5 / snr[0].item(), 1.0])
    assert v.tolist() == pytest.approx([5 / (snr[0].item() + 1), (snr[1] / (snr[1] + 1)).item()])


@pytest.mark.parametrize("length", [4, 1])
def test_dropped_prompts_are_the_empty_one(length):
    states, empty = torch.randn(3, 4, TEXT_DIM), torch.full((1, length, TEXT_DIM), 7.0)
    found = drop_prompts(states, torch.tensor([False, True, False]), empty)
    assert torch.equal(found[1].reshape(-1, TEXT_DIM), empty[0])
    assert torch.equal(found[0].reshape(-1, TEXT_DIM), states[0])
    assert drop_prompts(states, torch.zeros(3, dtype=torch.bool), empty) is states


def test_texts_of_different_lengths_are_read_one_by_one():
    connector, timesteps = small_connector(), torch.tensor([3, 500, 900, 7])
    texts = [torch.randn(1, length, TEXT_DIM) for length in (2, 5, 2, 3)]
    tokens, pooled = Conditioner(connector)(texts, timesteps)
    assert pooled is None
    for row, text in enumerate(texts):
        assert torch.allclose(tokens[row], connector(text, timesteps[row : row + 1])[0], atol=1e-6)


def test_a_connector_whose_tokens_are_as_many_as_the_text_s_needs_padding():
    with pytest.raises(TrainingError, match="--max-length 128"):
        Conditioner(small_connector("mlp"))([torch.randn(1, length, TEXT_DIM) for length in (2, 5)], torch.zeros(2))


def test_a_pooled_vector_is_made_of_the_tokens():
    connector = new_connector("tsc", width=64, text_dim=TEXT_DIM, depth=1, pooled_dim=10, time_dim=8)
    tokens, pooled = Conditioner(connector)(torch.randn(2, 3, TEXT_DIM), torch.tensor([1, 999]))
    assert torch.equal(pooled, connector.pool(tokens)) and pooled.shape == (2, 10)
    assert WIDTH != 64


def test_draws_depend_on_seed_step_and_place_alone():
    whole = draw(1, 7, 0, (8, 4, 2, 2), 0.5, 0.1)
    parts = [draw(1, 7, first, (4, 4, 2, 2), 0.5, 0.1) for first in (0, 4)]
    for name in ("timesteps", "noise", "dropped"):
        assert torch.equal(getattr(whole, name), torch.cat([getattr(part, name) for part in parts]))
    for other in (draw(2, 7, 0, (8, 4, 2, 2)), draw(1, 8, 0, (8, 4, 2, 2)), draw(1, 7, 1, (8, 4, 2, 2))):
        assert not torch.equal(other.timesteps, whole.timesteps)


def test_draws_are_spread_as_they_should_be():
    """Of 20,000 pictures over 400 steps; the bounds are four deviations of such a sample."""
    draws = [draw(3, step, 0, (50, 4, 1, 1), drop_prompt=0.1) for step in range(400)]
    timesteps = torch.cat([one.timesteps for one in draws])
    noise = torch.cat([one.noise for one in draws]).flatten()
    dropped = torch.cat([one.dropped for one in draws]).float()
    assert timesteps.min() == 0 and timesteps.max() == 999
    counts = torch.bincount(timesteps // 100, minlength=10)
    assert (counts - 2000).abs().max() < 4 * (20_000 * 0.1 * 0.9) ** 0.5
    assert abs(dropped.mean() - 0.1) < 4 * (0.1 * 0.9 / 20_000) ** 0.5
    assert abs(noise.mean()) < 4 * 80_000**-0.5 and abs(noise.std() - 1) < 4 * 160_000**-0.5


def test_the_noise_offset_is_one_number_for_each_channel():
    plain, offset = (draw(1, 2, 0, (2, 4, 3, 3), noise_offset=one) for one in (0.0, 0.5))
    difference = offset.noise - plain.noise
    assert torch.allclose(difference, difference[:, :, :1, :1].expand_as(difference), atol=1e-6)
    assert difference.abs().max() > 0.1
