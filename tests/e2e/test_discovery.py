"""How an artist finds the pack's nodes, help and workflows, and what the frontend says of models that are not there."""

import json
import re
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
HELP = REPO / "web/docs"


@pytest.fixture(params=["en", "zh"])
def language(server, request):
    """The frontend's language; a page opened after this is in it."""
    server.post("/settings", {"Comfy.Locale": request.param})
    yield request.param
    server.post("/settings", {"Comfy.Locale": "en"})


@pytest.fixture
def absent_models(models, tmp_path):
    """Takes the model files away; a page opened after this finds their folders empty."""
    moved = {path: tmp_path / str(number) for number, path in enumerate(sorted(models.rglob("*.safetensors")))}
    for path, aside in moved.items():
        path.rename(aside)
    yield
    for path, aside in moved.items():
        aside.rename(path)


def test_the_search_box_finds_the_nodes(page, put_down, screenshot):
    page.evaluate("() => window.app.graph.clear()")
    box = page.get_by_placeholder("Add a node...")
    for _ in range(5):  # on a busy machine the frontend may see two single clicks
        page.mouse.dblclick(800, 450)
        page.wait_for_timeout(1500)
        if box.is_visible():
            break
    results = page.get_by_test_id("result-item")

    def search(words):
        box.fill(words)
        page.wait_for_timeout(700)
        return results.all_inner_texts()

    nodes = {"ELLA Text Encode", "Apply ELLA", "Load ELLA", "Load ELLA Text Encoder"}
    # The frontend puts names before aliases, so ELLA Text Encode comes behind many others for "ella".
    for words, names in {
        "ella": nodes - {"ELLA Text Encode"},
        "long prompt": nodes,
        "dense prompt": nodes - {"Load ELLA Text Encoder"},
    }.items():
        first = [text.splitlines()[0] for text in search(words)[:12]]
        screenshot(f"-{words}")
        assert names <= set(first), words
    search("apply ella")
    results.first.click()
    put_down(700, 400)
    screenshot("-added")
    assert page.evaluate("() => window.app.graph.nodes.map(node => node.type)") == ["ELLAApplyConditioning"]


def test_the_help_of_every_node_is_shown(server, language, page, screenshot):
    for node_id in sorted(path.name for path in HELP.iterdir()):
        page.evaluate(
            """id => {
                window.app.graph.clear();
                const node = window.LiteGraph.createNode(id);
                node.pos = [300, 300];
                window.app.graph.add(node);
                window.app.canvas.selectNode(node);
            }""",
            node_id,
        )
        page.get_by_test_id("info-button").click()
        text = (HELP / node_id / f"{language}.md").read_text(encoding="utf-8")
        page.get_by_role("heading", name=re.search(r"^# (.+)$", text, re.MULTILINE)[1], exact=True).wait_for()
        for name in re.findall(r"!\[.*?\]\((.+?)\)", text):
            page.wait_for_function(
                "address => [...document.images].some(i => i.src === address && i.complete && i.naturalWidth > 300)",
                arg=f"{server.address}/extensions/ELLA/docs/{name}",
            )
        screenshot(f"-{node_id}")


def test_a_template_names_the_models_that_are_absent(absent_models, page, screenshot):
    page.evaluate("() => window.app.extensionManager.command.execute('Comfy.BrowseTemplates')")
    page.get_by_text("ELLA", exact=True).click()
    card = page.get_by_test_id("template-workflow-ELLA text to image")
    thumbnail = card.locator("img").element_handle()
    page.wait_for_function("image => image.complete && image.naturalWidth === 768", arg=thumbnail)
    screenshot("-templates")
    card.click()
    page.get_by_test_id("error-overlay-see-errors").click()
    rows = page.get_by_test_id("missing-model-importable-rows")
    rows.wait_for()
    screenshot()
    lines = rows.inner_text().split("\n")
    workflow = json.loads((REPO / "workflows/ELLA text to image.json").read_text(encoding="utf-8"))
    named = [model for node in workflow["nodes"] for model in node["properties"].get("models", ())]
    assert len(named) == 3 == len(lines) // 3
    for model in named:
        place = lines.index(model["name"])
        assert lines[place : place + 3] == [model["name"], model["directory"], "Download"]
