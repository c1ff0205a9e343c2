"""prompt_cache over a restart of the server: the second one makes the picture without the language model's weights."""

LOADED = "Requested to load ELLATextEncoderModel"  # the host's words in the log


def prompt_of(server, workflow, positive=None):
    """ELLA text to image.json with prompt_cache and Diagnose at its end, as an API prompt."""
    prompt = server.api_prompt(workflow("ELLA text to image.json"))
    nodes = {node["class_type"]: node_id for node_id, node in prompt.items()}
    prompt[nodes["LoadELLATextEncoder"]]["inputs"]["prompt_cache"] = True
    if positive is not None:
        prompt[nodes["ELLAT5TextEncode"]]["inputs"]["text"] = positive
    prompt["page"] = {"class_type": "ELLADiagnose", "inputs": {"clip": [nodes["LoadELLATextEncoder"], 0]}}
    return prompt, nodes["KSampler"]


def test_a_known_prompt_after_a_restart(restarted, workflow):
    pictures, loaded, unread = [], [], []
    for _ in range(2):
        with restarted() as server:
            history = server.run(prompt_of(server, workflow)[0])
            pictures.append(server.picture(history).read_bytes())
            # Queued anew with another seed, as an artist does; now the page comes when all is done.
            prompt, sampler = prompt_of(server, workflow)
            prompt[sampler]["inputs"]["seed"] = 7
            (page,) = server.run(prompt)["outputs"]["page"]["text"]
            unread.append("its weights not read so far" in page)
            loaded.append(LOADED in server.log.read_text(encoding="utf-8"))
            server.run(prompt_of(server, workflow, f"a prompt that nobody has read, {len(loaded)}")[0])
            assert LOADED in server.log.read_text(encoding="utf-8")
    assert loaded == [True, False]
    assert unread == [False, True]
    assert pictures[0] == pictures[1]
