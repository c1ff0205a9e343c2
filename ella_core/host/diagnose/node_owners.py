"""Which pack a node id belongs to in this ComfyUI: the one that registered it last."""

import nodes

from ....old_workflows.old_nodes import OLD_NODES


def owner(node_class):
    """The folder of the pack that a registered node class comes from."""
    return getattr(node_class, "RELATIVE_PYTHON_MODULE", "of unknown name").rsplit(".", 1)[-1]


def earlier_packs():
    """{pack: its node ids} of the ELLA packs before this one."""
    return by_owner(node_id for node_id in OLD_NODES if node_id in nodes.NODE_CLASS_MAPPINGS)


def taken_nodes(own_nodes):
    """{pack: node ids} of other packs that registered ids of `own_nodes`, {node id: class}."""
    registered = nodes.NODE_CLASS_MAPPINGS
    return by_owner(node_id for node_id, node in own_nodes.items() if registered.get(node_id, node) is not node)


def by_owner(node_ids):
    found = {}
    for node_id in node_ids:
        found.setdefault(owner(nodes.NODE_CLASS_MAPPINGS[node_id]), []).append(node_id)
    return found
