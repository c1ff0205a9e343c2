"""Writes locales/en/nodeDefs.json, the English names and tooltips, from the nodes' own schemas.

    COMFYUI=<folder> python scripts/english_names.py

COMFYUI is the folder that scripts/host.sh prints, and python the interpreter. A test says when the file is stale.
"""

import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
WRITTEN = REPO / "locales/en/nodeDefs.json"


def names_of(schema):
    """A schema's own texts in the form of locales/*/nodeDefs.json."""
    return {
        "display_name": schema.display_name,
        "description": schema.description,
        "inputs": {one.id: {"name": one.display_name or one.id, "tooltip": one.tooltip} for one in schema.inputs},
        "outputs": {
            str(index): {"name": one.display_name or one.get_io_type(), "tooltip": one.tooltip}
            for index, one in enumerate(schema.outputs)
        },
    }


def text_of(schemas):
    """The file's text for an iterable of schemas."""
    names = {schema.node_id: names_of(schema) for schema in schemas}
    return json.dumps(names, indent=2, ensure_ascii=False) + "\n"


def pack_schemas(comfyui, base):
    """Schemas of the pack's nodes in the order of its extension, loaded by ComfyUI with its folders under `base`."""
    sys.path[:] = [str(comfyui)] + [path for path in sys.path if Path(path or ".").resolve() != REPO]
    from comfy.cli_args import args

    args.cpu, args.base_directory, args.disable_api_nodes = True, str(base), True
    import utils.extra_config  # noqa: F401, I001  first: nodes.py puts a folder with a utils.py of its own in front
    import nodes
    import server

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    server.PromptServer(loop)
    before = set(nodes.NODE_CLASS_MAPPINGS)
    assert loop.run_until_complete(nodes.load_custom_node(str(REPO), module_parent="custom_nodes"))
    return [cls.GET_SCHEMA() for name, cls in nodes.NODE_CLASS_MAPPINGS.items() if name not in before]


def main():
    with tempfile.TemporaryDirectory() as base:
        WRITTEN.write_text(text_of(pack_schemas(os.environ["COMFYUI"], base)), encoding="utf-8")
    print(WRITTEN)


if __name__ == "__main__":
    main()
