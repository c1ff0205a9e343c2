"""Takes the pictures of graphs again: docs/graph.png and the wirings of the help pages; graph_pictures.sh starts it.

The nodes run with small random models, and ELLAAttentionMap with the small world's, in folders that go with the server.
"""

import argparse
import io
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import comfyui_server
import demo_small_world
import random_models
from frontend_page import open_frontend, running_browser
from PIL import Image
from wiring_graphs import WIRINGS

REPO = Path(__file__).resolve().parents[1]
COMFYUI = os.environ["COMFYUI"]
TEMPLATE = REPO / "workflows/ELLA text to image.json"
LANGUAGES = {"en": "wiring.png", "zh": "wiring-zh.png"}
RUN = ("ELLAAttentionMap", "ELLADiagnose", "ELLATokenReport")  # what these show is part of the picture
SCALE, WIDTH, MARGIN = 1.4, 1300, 14  # of a wiring: pixels for a unit of the graph, at most, and around it
README_WIDTH = 2000  # pixels of docs/graph.png
BUILD = """([nodes, wires, about, language]) => {
    const graph = window.app.graph;
    graph.clear();
    window.app.nodeOutputs = {};
    const made = nodes.map(([type, x, y, width, height, suffix, values]) => {
        const node = window.LiteGraph.createNode(type);
        graph.add(node);
        node.pos = [x, y];
        node.setSize([width, height ?? node.computeSize()[1]]);
        if (suffix) node.title += suffix[language];
        if (type === about) [node.color, node.bgcolor] = ['#223', '#335'];
        for (const [name, value] of Object.entries(values))
            node.widgets.find(widget => widget.name === name).value = value;
        return node;
    });
    for (const [from, output, to, input] of wires)
        made[from].connect(made[from].findOutputSlot(output), made[to], made[to].findInputSlot(input));
}"""
SHOWN = """() => {
    const node = window.app.graph.nodes.find(node => node.color === '#223');
    const shown = [node, ...node.outputs.flatMap(output => output.links ?? []).map(
        link => window.app.graph.getNodeById(window.app.graph.links.get(link).target_id)
    )];
    return shown.some(node => window.app.nodeOutputs[node.id]);
}"""
BOUNDS = """() => {
    const {nodes, groups, reroutes} = window.app.graph;
    const box = ([x, y], [width, height], above) => [x, y - above, x + width, y + height];
    const badge = 2 * window.LiteGraph.NODE_TITLE_HEIGHT; // a title, and the name of the pack above it
    const parts = nodes.map(node => box(node.pos, node.size, badge));
    parts.push(...groups.map(group => box(group.pos, group.size, 0)));
    parts.push(...[...reroutes.values()].map(reroute => box(reroute.pos, [0, 10], 0)));
    const least = i => Math.min(...parts.map(part => part[i])), most = i => Math.max(...parts.map(part => part[i]));
    return [least(0), least(1), most(2), most(3)];
}"""


def graph_picture(page, scale=SCALE, width=WIDTH):
    """The picture of all that is on the canvas, `scale` pixels for a unit of the graph or as many as fit `width`."""
    left, top, right, bottom = page.evaluate(BOUNDS)
    scale = min(scale, width / (right - left))
    width, height = ((far - near) * scale + 2 * MARGIN for near, far in ((left, right), (top, bottom)))
    page.set_viewport_size({"width": int(width) + 200, "height": int(height) + 200})
    page.evaluate(
        """([scale, x, y]) => {
            const view = window.app.canvas.ds;
            view.scale = scale;
            view.offset = [x, y];
            window.app.canvas.deselectAll();
            window.app.canvas.setDirty(true, true);
        }""",
        [scale, (100 + MARGIN) / scale - left, (100 + MARGIN) / scale - top],
    )
    page.wait_for_timeout(1000)
    shot = page.screenshot(clip={"x": 100, "y": 100, "width": int(width), "height": int(height)})
    return Image.open(io.BytesIO(shot)).convert("RGB")


def save(picture, path, colours=None):
    """Writes a PNG, of so many colours where that is said: the most different ones, as wires are few pixels each."""
    if colours:
        picture = picture.quantize(colours, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    picture.save(path, optimize=True)
    print(path, flush=True)


def template_picture(page):
    graph = json.loads(TEMPLATE.read_text(encoding="utf-8"))
    graph["nodes"] = [node for node in graph["nodes"] if node["type"] != "MarkdownNote"]
    page.evaluate("graph => window.app.loadGraphData(graph)", graph)
    page.wait_for_timeout(1000)
    picture = graph_picture(page, scale=1, width=10000)
    return picture.resize(
        (README_WIDTH, round(picture.height * README_WIDTH / picture.width)), Image.Resampling.LANCZOS
    )


def wiring_picture(server, page, node_id, language):
    wiring = WIRINGS[node_id]
    page.evaluate(BUILD, [wiring["nodes"], wiring["wires"], node_id, language])
    if node_id in RUN:
        server.post("/free", {"free_memory": True})  # a run that is remembered shows nothing anew
        page.evaluate("() => window.app.extensionManager.command.execute('Comfy.QueuePrompt')")
        page.wait_for_function(SHOWN, timeout=300000)
        page.wait_for_timeout(3000)
    return graph_picture(page)


def main():
    parser = argparse.ArgumentParser(prog="graph_pictures.sh", description=__doc__.splitlines()[0])
    parser.add_argument("node_ids", nargs="*", help=f"wirings that are taken, of {', '.join(WIRINGS)}; all without")
    options = parser.parse_args()
    unknown = set(options.node_ids) - set(WIRINGS)
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))} has no wiring; choose of {', '.join(WIRINGS)}.")
    if not shutil.which("fc-list") or not subprocess.run(["fc-list", ":lang=zh"], capture_output=True).stdout:
        parser.error("no font with Chinese signs is installed; install one, fonts-noto-cjk for example.")
    with tempfile.TemporaryDirectory() as folder:
        models, base = Path(folder) / "models", Path(folder) / "base"
        random_models.main(COMFYUI, str(models))
        demo_small_world.write_models(demo_small_world.STORED, models, COMFYUI)
        comfyui_server.make_base(base, COMFYUI, {"ELLA": REPO}, models)
        flags = ("--disable-api-nodes", *comfyui_server.device_flags())
        with comfyui_server.started(COMFYUI, *flags, base=base) as server, running_browser() as browser:
            for language, name in LANGUAGES.items():
                server.post("/settings", {"Comfy.Locale": language})
                with open_frontend(browser, server) as page:
                    page.evaluate("() => window.app.extensionManager.command.execute('Workspace.ToggleFocusMode')")
                    if language == "en" and not options.node_ids:
                        save(template_picture(page), REPO / "docs/graph.png")
                    for node_id in options.node_ids or WIRINGS:
                        path = REPO / "web/docs" / node_id / name
                        save(wiring_picture(server, page, node_id, language), path, colours=256)


if __name__ == "__main__":
    main()
