"""The tokens of one sampling run: computed once for its whole schedule, dropped with it."""

import itertools

import torch

MEMORY = 256 * 2**20  # bytes that a batch of timesteps may take beside the connector's weights

numbers = itertools.count()


class RunTokens:
    """Tokens by prompt, connector and timestep for a run that will visit `schedule`, a dict of sigma -> timestep.

    A prompt's first evaluation computes its whole schedule in one batch, so that prompts which are never evaluated (a
    negative at cfg 1) cost nothing; a timestep outside the schedule is computed when it comes. What depends on time
    alone is computed once for all prompts. A connector that reads no time is asked once.
    """

    def __init__(self, schedule, dtype):
        self.timestep_of = schedule  # by sigma
        self.dtype = dtype
        self.timesteps = list(dict.fromkeys(schedule.values()))
        self.number = next(numbers)
        self.patchers = {}  # of connectors, by connector_key and the model that carries them
        self.tokens = {}
        self.pooled = {}
        self.read = []
        self.timed = {}

    def patcher(self, connector_key, model):
        """The connector's ModelPatcher that a model carries under this key, or None."""
        key = connector_key, id(model)
        if key not in self.patchers:
            self.patchers[key] = next(iter(model.current_patcher.get_additional_models_with_key(connector_key)), None)
        return self.patchers[key]

    def at(self, text_states, timestep, ella, like):
        """Tokens (1, Q, W) of text states (1, T, text_dim) at a timestep by the connector of the ModelPatcher `ella`.

        Computed on its device, kept in the dtype and on the device of `like`.
        """
        if not ella.model.reads_time:
            timestep = None
        key = (id(text_states), id(ella.model), timestep)
        tokens = self.tokens.get(key)
        if tokens is None:
            self.compute(text_states, self.timesteps if timestep in self.timesteps else [timestep], ella, like)
            tokens = self.tokens[key]
        return tokens

    def pooled_at(self, text_states, timestep, ella, like):
        """Pooled vector (1, P) of the tokens that `at` gives."""
        tokens = self.at(text_states, timestep, ella, like)
        key = id(tokens)  # which are kept as long as the run
        if key not in self.pooled:
            self.pooled[key] = ella.model.pooled(tokens.to(ella.load_device, self.dtype)).to(like)
        return self.pooled[key]

    def compute(self, text_states, timesteps, ella, like):
        connector, device = ella.model, ella.load_device
        # Kept, so that no other prompt can get this one's id within the run.
        self.read.append(text_states)
        states = text_states.to(device, self.dtype)
        if not connector.reads_time:
            self.tokens[id(text_states), id(connector), None] = connector.tokens(states, None).to(like)
            return
        for chunk in chunks(timesteps, timesteps_at_once(connector.config, states.shape[1], self.dtype)):
            tokens = connector.tokens(states, self.time(chunk, connector, device)).to(like)  # (S, Q, W)
            for timestep, one in zip(chunk, tokens.split(1)):
                self.tokens[id(text_states), id(connector), timestep] = one

    def time(self, timesteps, connector, device):
        key = (tuple(timesteps), id(connector))
        if key not in self.timed:
            self.timed[key] = connector.read_time(torch.tensor(timesteps, device=device), self.dtype)
        return self.timed[key]


def chunks(timesteps, size):
    return [timesteps[start : start + size] for start in range(0, len(timesteps), size)]


def timesteps_at_once(config, text_length, dtype):
    """How many timesteps of a prompt of `text_length` text states fit into MEMORY at once.

    The largest tensors that live together in a block, per timestep: the modulated text beside the queries twice, their
    keys and values, and the hidden layer of the queries' MLP twice.
    """
    numbers = config.width * (6 * (text_length + config.num_queries) + 8 * config.num_queries)
    return max(1, MEMORY // (numbers * dtype.itemsize))
