"""The graphs of the help pages' pictures: every node has one, and it fits the nodes as they are."""

import pytest
from wiring_graphs import WIRINGS


def test_every_node_has_a_wiring(host):
    pack = host.pack.__name__ + "."
    assert sorted(WIRINGS) == sorted(name for name, cls in host.node_classes.items() if cls.__module__.startswith(pack))


@pytest.mark.parametrize("node_id", WIRINGS)
def test_the_wiring_fits_the_nodes(host, node_id):
    nodes, wires = WIRINGS[node_id]["nodes"], WIRINGS[node_id]["wires"]
    info = host.object_info(*{kind for kind, *_ in nodes})
    assert node_id in info
    inputs = [info[kind]["input"] for kind, *_ in nodes]
    inputs = [{name: one for part in parts.values() for name, one in part.items()} for parts in inputs]
    for source, output, target, name in wires:
        kinds = dict(zip(info[nodes[source][0]]["output_name"], info[nodes[source][0]]["output"]))
        wanted = inputs[target][name][0]
        assert wanted in ("*", kinds[output]), (output, name)
    for (*_, values), known in zip(nodes, inputs):
        assert set(values) <= set(known)
