"""The names and shapes told from two blocks are those of the network of any depth."""

import pytest

from ella_core import new_connector
from ella_core.block_shapes import count_blocks
from ella_core.connectors.connector_file import BLOCKS, expected_shapes

SMALL = {"width": 64, "num_heads": 4, "num_queries": 3, "text_dim": 16, "pooled_dim": 8}
TIME = {"time_channels": 8, "time_dim": 24}


@pytest.mark.parametrize("depth", [1, 2, 3, 11])
@pytest.mark.parametrize("kind", ["tsc", "adaln-zero", "resampler"])
def test_shapes_are_those_of_the_built_network(kind, depth):
    sizes = SMALL | (TIME if kind != "resampler" else {})
    connector = new_connector(kind, depth=depth, **sizes)
    built = {key: tuple(value.shape) for key, value in connector.state_dict().items()}
    expected = expected_shapes(type(connector), connector.config)
    assert dict(expected) == built
    assert len(expected) == len(built)
    for number in (str(depth), "00", "01", "-1", "\u0661", ""):
        assert f"{BLOCKS}{number}.mlp.c_fc.bias" not in expected
    assert not {BLOCKS, f"{BLOCKS}0", "1.mlp.c_fc.bias"} & set(expected)


def test_blocks_are_counted_up_to_the_first_gap():
    assert count_blocks(["b.0.x", "b.1.x", "b.1.y", "b.3.x", "c.2.x", "b.02.x"], "b.") == 2
    assert count_blocks(["b.1.x"], "b.") == 0
