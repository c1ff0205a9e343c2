"""The pack as an artist meets it: ComfyUI's own frontend in a real browser."""

import json
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted(path.name for path in (REPO / "workflows").glob("*.json"))


def load(page, graph):
    page.evaluate("graph => window.app.loadGraphData(graph)", graph)
    page.wait_for_timeout(800)
    page.evaluate("() => window.app.extensionManager.command.execute('Comfy.Canvas.FitView')")
    page.wait_for_timeout(800)


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_template_opens_with_every_node_and_wire(page, screenshot, name):
    graph = json.loads((REPO / "workflows" / name).read_text(encoding="utf-8"))
    load(page, graph)
    nodes = page.evaluate("() => window.app.graph.nodes.map(node => [node.type, node.has_errors === true])")
    assert sorted(kind for kind, _ in nodes) == sorted(node["type"] for node in graph["nodes"])
    assert not any(errors for _, errors in nodes)
    missing = page.evaluate(
        """() => window.app.graph.nodes.map(node => node.type).filter(
            type => !window.LiteGraph.registered_node_types[type] && !['MarkdownNote', 'Note'].includes(type)
        )"""
    )
    assert missing == []
    assert page.evaluate("() => [...window.app.graph.links.values()].length") == len(graph["links"])
    screenshot()


def test_a_run_queued_in_the_browser_shows_its_picture(page, server, workflow, screenshot):
    load(page, workflow("ELLA text to image.json"))
    page.evaluate("() => window.app.extensionManager.command.execute('Comfy.QueuePrompt')")
    page.wait_for_function(
        "() => Object.values(window.app.nodeOutputs).some(output => output.images?.length)", timeout=180000
    )
    page.wait_for_timeout(1500)
    screenshot()


def test_dropping_the_picture_brings_the_graph_back(page, server, workflow):
    graph = workflow("ELLA text to image.json")
    load(page, graph)
    api = page.evaluate("async () => (await window.app.graphToPrompt())")
    picture = server.picture(server.run(api["output"], api["workflow"]))
    page.evaluate("() => window.app.graph.clear()")
    page.evaluate(
        """async bytes => {
            const file = new File([new Uint8Array(bytes)], 'picture.png', {type: 'image/png'});
            await window.app.handleFile(file);
        }""",
        list(picture.read_bytes()),
    )
    page.wait_for_timeout(800)
    kinds = page.evaluate("() => window.app.graph.nodes.map(node => node.type)")
    assert sorted(kinds) == sorted(node["type"] for node in graph["nodes"])


def test_the_page_of_ella_diagnose_is_shown_in_the_node(page, screenshot):
    graph = {
        "nodes": [{"id": 1, "type": "ELLADiagnose", "pos": [0, 0], "size": [700, 400]}],
        "links": [],
        "version": 0.4,
    }
    load(page, graph)
    page.evaluate("() => window.app.extensionManager.command.execute('Comfy.QueuePrompt')")
    page.wait_for_function(
        "() => window.app.graph.nodes[0].widgets?.some(widget => String(widget.value).startsWith('ELLA '))",
        timeout=60000,
    )
    shown = page.get_by_text("To do").first
    shown.wait_for(state="visible", timeout=10000)
    screenshot()


def test_the_token_report_stands_on_its_node(page, screenshot):
    """Also what looks like HTML in it: the end token, and a word that the tokenizer doesn't know."""
    graph = {"nodes": [], "links": [], "groups": [], "version": 0.4}
    load(page, graph)
    page.evaluate(
        """() => {
            const [clip, report] = ['LoadELLATextEncoder', 'ELLATokenReport'].map(type => {
                const node = window.LiteGraph.createNode(type);
                window.app.graph.add(node);
                return node;
            });
            report.pos = [420, 40];
            report.size = [500, 500];
            clip.connect(0, report, 0);
            report.widgets.find(widget => widget.name === 'text').value = 'a (red:1.3) fox \\u{1F98A}';
        }"""
    )
    page.evaluate("() => window.app.extensionManager.command.execute('Comfy.QueuePrompt')")
    shown = page.get_by_text("end token | </s> (1)")
    shown.wait_for(timeout=180000)
    text = shown.inner_text()
    assert "red | 1.3 |" in text and "\U0001f98a | 1 |" in text
    screenshot()


def test_the_number_of_tokens_stands_on_ella_text_encode(page, screenshot):
    """And the words that max_length cut, on a node that is no output."""
    load(page, {"nodes": [], "links": [], "groups": [], "version": 0.4})
    page.evaluate(
        """() => {
            const [clip, encode, seen] = ['LoadELLATextEncoder', 'ELLAT5TextEncode', 'PreviewAny'].map(type => {
                const node = window.LiteGraph.createNode(type);
                window.app.graph.add(node);
                return node;
            });
            encode.pos = [420, 40];
            encode.size = [420, 320];
            seen.pos = [900, 40];
            clip.connect(0, encode, 0);
            encode.connect(0, seen, 0);
            const set = (name, value) => encode.widgets.find(widget => widget.name === name).value = value;
            set('text', 'a red fox in a <b>green</b> coat\\nBREAK\\ntwo hens');
            set('max_length', 6);
        }"""
    )
    page.evaluate("() => window.app.extensionManager.command.execute('Comfy.QueuePrompt')")
    shown = page.get_by_text("12 tokens in 2 parts (6 + 6)")
    shown.wait_for(timeout=180000)
    assert "max_length 6 cut" in shown.inner_text() and "<b>green</b> coat" in shown.inner_text()
    screenshot()
