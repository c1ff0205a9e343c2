"""ELLA (arXiv 2403.05135) without a host: the connector, its checkpoint files and the frozen text encoder."""

from .checkpoint import ConnectorConfig, load_connector
from .connector import TimestepAwareSemanticConnector
from .errors import ELLAError
from .text_encoder import TextEncoder, load_text_encoder

__all__ = [
    "ConnectorConfig",
    "ELLAError",
    "TextEncoder",
    "TimestepAwareSemanticConnector",
    "load_connector",
    "load_text_encoder",
]
