"""What the pack adds to ComfyUI's start: milliseconds of processor time of `load_custom_node`.

Python keeps what it compiled, so a start after the first is measured, as nearly all of an artist's are.

python benchmarks/import_cost.py COMFYUI PACK
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EMPTY_PACK = """
from comfy_api.latest import ComfyExtension


class Empty(ComfyExtension):
    async def get_node_list(self):
        return []


async def comfy_entrypoint():
    return Empty()
"""


def rows(comfyui, pack, rounds):
    """Row of the pack against an empty one, each round in two fresh processes, after one uncounted round."""
    import compare

    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder) / "empty"
        empty.mkdir()
        (empty / "__init__.py").write_text(EMPTY_PACK)
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment = kept | {"PYTHONPYCACHEPREFIX": str(Path(folder) / "compiled")}
        pairs = []
        for _ in range(rounds + 1):
            found = []
            for one in (pack, empty):
                command = [sys.executable, __file__, str(comfyui), str(one)]
                run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
                found.append(json.loads(run.stdout.splitlines()[-1]))
            pairs.append((found[0]["ms"], found[1]["ms"]))
    del pairs[0]
    pairs.sort(key=lambda pair: pair[0] - pair[1])
    ours, theirs = pairs[len(pairs) // 2]
    yield compare.row("import of the pack", "an empty pack", pairs, "ms", f"{ours - theirs:+.0f} ms")


def main(comfyui, pack):
    sys.path[0] = comfyui
    from comfy.cli_args import args

    args.cpu = True
    args.disable_api_nodes = True
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    import utils.extra_config  # noqa: F401, I001
    import nodes
    import server

    server.PromptServer(loop)
    loop.run_until_complete(nodes.init_extra_nodes(init_custom_nodes=False, init_api_nodes=False))
    started = time.process_time()
    assert loop.run_until_complete(nodes.load_custom_node(pack, module_parent="custom_nodes"))
    print(json.dumps({"ms": (time.process_time() - started) * 1000}))


if __name__ == "__main__":
    main(*sys.argv[1:])
