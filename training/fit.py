"""Whether a connector, a base and the data belong together."""

from __future__ import annotations

from ella_core.connectors.facts import TextEncoderFacts

from .errors import TrainingError


def check_fit(base, connector, data):
    """Raises TrainingError, with found and expected, for a connector that can't be trained on that base and data."""
    width, text_dim = connector.config.width, connector.config.text_dim
    if width != base.context_width:
        raise TrainingError(
            f"The connector makes tokens of width {width}, and the UNet of the checkpoint ({base.name}) attends to "
            f"width {base.context_width}; give a connector or a checkpoint of the other kind."
        )
    found = data.empty_states.shape[-1]
    if text_dim != found:
        raise TrainingError(
            f"The connector reads text states of width {text_dim}, and those of the data are {found} wide; give the "
            "language model that the connector was trained with, or a new connector."
        )
    if base.prediction not in ("eps", "v"):
        raise TrainingError(f"The checkpoint predicts {base.prediction}, and eps or v is expected; give another one.")
    trained = connector.facts.text_encoder
    if trained is not None and data.facts:
        now = TextEncoderFacts(**data.facts)
        for name in ("architecture", "layer", "dtype"):
            if getattr(trained, name) != getattr(now, name):
                raise TrainingError(
                    f"The connector was trained with text states of {name} {getattr(trained, name)}, and the data has "
                    f"{getattr(now, name)}; read the texts as the connector knows them, or begin with a new connector."
                )
