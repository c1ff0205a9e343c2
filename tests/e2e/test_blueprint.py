"""The subgraph blueprint as an artist uses it: found by search, put into a graph, wired, and queued with Run."""

PROMPT = "a red fox in a green coat reads a newspaper beside a blue teapot"
OURS = ["LoadELLA", "LoadELLATextEncoder", "ELLAT5TextEncode", "ELLAApplyConditioning"]


def test_the_blueprint_stands_in_for_the_ella_nodes(page, put_down, workflow, screenshot):
    assert page.get_by_text("Failed to load subgraph").count() == 0
    page.evaluate("graph => window.app.loadGraphData(graph)", workflow("ELLA text to image.json"))
    page.evaluate(
        """ours => {
            const {graph, canvas} = window.app;
            graph.nodes.filter(n => ours.includes(n.type) || n.type === 'MarkdownNote').forEach(n => graph.remove(n));
            graph.groups.slice().forEach(group => graph.remove(group));
            const right = part => part.pos[0] > 1000;
            for (const part of [...graph.nodes.filter(right), ...[...graph.reroutes.values()].filter(right)])
                part.pos = [part.pos[0] - 560, part.pos[1]];
            canvas.ds.scale = 0.62;
            canvas.ds.offset = [140, 300];
            canvas.setDirty(true, true);
        }""",
        OURS,
    )
    page.wait_for_timeout(500)
    page.mouse.dblclick(500, 750)
    page.get_by_placeholder("Add a node...").fill("ELLA prompt")
    page.get_by_test_id("result-item").first.click()
    page.wait_for_function("() => window.app.graph.nodes.some(node => node.title === 'ELLA prompt')")
    put_down(520, 215)
    page.evaluate(
        """() => {
            const find = name => window.app.graph.nodes.find(node => name === node.title || name === node.type);
            const blueprint = find('ELLA prompt'), sampler = find('KSampler');
            find('CheckpointLoaderSimple').connect(0, blueprint, 0);
            for (const slot of [0, 1, 2]) blueprint.connect(slot, sampler, slot);
        }"""
    )
    page.locator("textarea").first.fill(PROMPT)
    page.wait_for_timeout(300)
    prompt = page.evaluate("async () => (await window.app.graphToPrompt()).output")
    kinds = [node["class_type"] for node in prompt.values()]
    assert sorted(kind for kind in kinds if kind in OURS) == sorted([*OURS, "ELLAT5TextEncode"])
    texts = [node["inputs"]["text"] for node in prompt.values() if node["class_type"] == "ELLAT5TextEncode"]
    assert texts == [PROMPT, "blurry, low quality"]
    page.get_by_test_id("queue-button").click()
    page.wait_for_function(
        "() => Object.values(window.app.nodeOutputs).some(output => output.images?.length)", timeout=180000
    )
    page.wait_for_timeout(1000)
    screenshot()
