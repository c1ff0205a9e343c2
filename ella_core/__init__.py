"""ELLA (arXiv 2403.05135) without a host: the connector, its checkpoint files and the frozen text encoder."""

from .connectors.connector_file import load_connector, save_connector
from .connectors.facts import ConnectorFacts, TextEncoderFacts
from .connectors.kinds import new_connector
from .connectors.tsc import ConnectorConfig, TimestepAwareSemanticConnector
from .errors import ELLAError
from .language_models.kinds import load_text_encoder
from .language_models.text_encoder import TextEncoder

__all__ = [
    "ConnectorConfig",
    "ConnectorFacts",
    "ELLAError",
    "TextEncoder",
    "TextEncoderFacts",
    "TimestepAwareSemanticConnector",
    "load_connector",
    "load_text_encoder",
    "new_connector",
    "save_connector",
]
