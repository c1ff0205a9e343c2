"""The tokens of one sampling run: computed once for its whole schedule, dropped with it."""

from __future__ import annotations

import torch


class RunTokens:
    """Tokens by prompt, connector and timestep for a run that will visit `schedule`.

    A prompt's first evaluation computes its whole schedule in one batch, so that prompts which are never evaluated (a
    negative at cfg 1) cost nothing; a timestep outside the schedule is computed when it comes.
    """

    def __init__(self, schedule=()):
        self.schedule = schedule
        self.tokens = {}

    def at(self, text_states, timestep, connector, dtype):
        """Tokens (1, Q, W) of text states (1, T, text_dim) at a timestep, in `dtype` on the connector's device."""
        prompt = (id(text_states), id(connector))
        if (prompt, timestep) not in self.tokens:
            steps = self.schedule if timestep in self.schedule else (timestep,)
            device = connector.connector.latents.device
            tokens = connector(text_states.to(device, dtype), torch.tensor(steps, device=device))  # (S, Q, W)
            # The text states are kept with their tokens, so that no other prompt can get their id within the run.
            self.tokens.update({(prompt, step): (one, text_states) for step, one in zip(steps, tokens.split(1))})
        return self.tokens[prompt, timestep][0]
