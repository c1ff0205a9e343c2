"""The connector alone: a schedule in one batch against calls one by one, and against a plain matrix product."""

import compare
import host
import torch


def flops(config, length, steps):
    """Multiply-adds of a prompt's whole schedule, times two: linear layers and attention."""
    width, queries, keys = config.width, config.num_queries, config.num_queries + length
    block = queries * width * width * (1 + 1 + 8) + keys * width * width * 2 + 2 * queries * keys * width
    time = (
        config.time_channels * config.time_dim + config.time_dim**2 + config.time_dim * width * (1 + 6 * config.depth)
    )
    return 2 * (steps * (config.depth * block + time) + length * config.text_dim * width)


def schedule(ella, length, steps, rounds, device, dtype):
    """Rows of one prompt of `length` text states at `steps` timesteps."""
    import comfy.model_management

    comfy.model_management.load_models_gpu([ella], force_full_load=True)
    connector = ella.model
    states = host.text_states(length)[0][0].to(device, dtype)
    timesteps = torch.linspace(999, 0, steps, device=device).round().long()

    @torch.inference_mode()
    def batched():
        return connector(states, timesteps)

    @torch.inference_mode()
    def one_by_one():
        return torch.cat([connector(states, timestep[None]) for timestep in timesteps])

    work = flops(connector.config, length, steps)
    # A product of the shape that dominates the schedule: all queries and text states through an MLP's first layer.
    rows = steps * (connector.config.num_queries + length)
    left = torch.randn(rows, connector.config.width, device=device, dtype=dtype)
    right = torch.randn(connector.config.width, 4 * connector.config.width, device=device, dtype=dtype)
    repeats = max(1, round(work / (2 * left.numel() * right.shape[1])))
    right_work = 2 * left.numel() * right.shape[1] * repeats

    @torch.inference_mode()
    def product():
        for _ in range(repeats):
            left @ right

    name = f"{steps} steps, T={length}"
    first = compare.interleaved(f"calls one by one, {name}", "the schedule in one batch", one_by_one, batched, rounds)
    second = compare.interleaved(
        f"schedule in one batch, {name}", "plain product of as many FLOPs", batched, product, rounds
    )
    share = right_work and work / right_work / second.ratio
    second.note = f"{work / 1e9:.0f} GFLOP, {share:.0%} of the product's rate"
    return [first, second]
