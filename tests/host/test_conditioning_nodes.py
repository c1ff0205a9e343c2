"""Core's conditioning nodes before and after Apply ELLA, against a UNet that calls the connector each time."""

import pytest
import torch
from sampling import (
    CONTEXT,
    LATENT,
    PROMPT,
    QUERIES,
    assert_exact,
    brute_force,
    ksample,
    latent,
    record_context,
    relative,
    tagged,
)

SECOND = "a stone bridge over a river"


def mask(side=64):
    half = torch.zeros(1, side, side)
    half[:, :, : side // 2] = 1.0
    return half


# Each takes the host and two CONDITIONINGs and gives one.
ARRANGEMENTS = {
    "combine": lambda host, a, b: host.run("ConditioningCombine", conditioning_1=a, conditioning_2=b)[0],
    "area": lambda host, a, b: (
        a + host.run("ConditioningSetArea", conditioning=b, width=32, height=64, x=32, y=0, strength=0.8)[0]
    ),
    "area percentage": lambda host, a, b: (
        a
        + host.run("ConditioningSetAreaPercentage", conditioning=b, width=0.5, height=1.0, x=0.0, y=0.0, strength=1.0)[
            0
        ]
    ),
    "mask": lambda host, a, b: (
        a + host.run("ConditioningSetMask", conditioning=b, mask=mask(), strength=1.0, set_cond_area="default")[0]
    ),
    "mask bounds": lambda host, a, b: (
        a + host.run("ConditioningSetMask", conditioning=b, mask=mask(), strength=0.7, set_cond_area="mask bounds")[0]
    ),
    "timestep range": lambda host, a, b: (
        host.run("ConditioningSetTimestepRange", conditioning=a, start=0.0, end=0.5)[0]
        + host.run("ConditioningSetTimestepRange", conditioning=b, start=0.5, end=1.0)[0]
    ),
    "properties": lambda host, a, b: (
        a + host.run("ConditioningSetProperties", cond_NEW=b, strength=0.6, set_cond_area="default", mask=mask())[0]
    ),
    "default": lambda host, a, b: host.run(
        "ConditioningSetDefaultCombine",
        cond=host.run("ConditioningSetMask", conditioning=a, mask=mask(), strength=1.0, set_cond_area="default")[0],
        cond_DEFAULT=b,
    )[0],
}


@pytest.fixture(scope="module")
def second(host, t5):
    return host.run("ELLAT5TextEncode", clip=t5, text=SECOND, max_length=0)[0]


@pytest.mark.parametrize("name", ARRANGEMENTS)
def test_regions_and_ranges(host, model, ella, text_states, second, oracle, name):
    """The same before Apply ELLA, after it, and by brute force; as many evaluations as with other conditioning."""
    arrange = ARRANGEMENTS[name]
    apply = {"model": model, "ella": ella, "negative": text_states[1]}

    before = host.run("ELLAApplyConditioning", **apply, positive=arrange(host, text_states[0], second))
    after_model, first_positive, negative = host.run("ELLAApplyConditioning", **apply, positive=text_states[0])
    after_model, second_positive = host.run("ELLAApplyConditioning", model=after_model, ella=ella, positive=second)[:2]
    after = (after_model, arrange(host, first_positive, second_positive), negative)

    prompts = text_states[0][0][0], text_states[1][0][0], second[0][0]
    forced, seen_by_force = record_context(brute_force(model, oracle, *prompts))
    expected = ksample(host, forced, arrange(host, tagged(1), tagged(3)), tagged(2))
    for patched, positive, negative in (before, after):
        recorded, seen = record_context(patched)
        assert relative(ksample(host, recorded, positive, negative), expected) < LATENT
        assert_exact(seen, oracle, *prompts)
        assert [step for step, _ in seen] == [step for step, _ in seen_by_force]


def test_one_entry_per_prompt_whatever_the_steps(applied):
    assert [len(conditioning) for conditioning in applied[1:]] == [1, 1]


@pytest.fixture(scope="module")
def with_clip(host, model, ella, text_states, clip_conds):
    return host.run(
        "ELLAApplyConditioning",
        model=model,
        ella=ella,
        positive=text_states[0],
        negative=text_states[1],
        clip_positive=clip_conds[0],
        clip_negative=clip_conds[1],
    )


def concat(host, to, appended):
    return host.run("ConditioningConcat", conditioning_to=to, conditioning_from=appended)[0]


def test_clip_inputs_equal_core_concat(host, applied, with_clip, clip_conds):
    concatenated = [concat(host, ella, clip) for ella, clip in zip(applied[1:], clip_conds)]
    first, seen = record_context(with_clip[0])
    second, seen_concatenated = record_context(applied[0])
    assert torch.equal(ksample(host, first, *with_clip[1:]), ksample(host, second, *concatenated))
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(seen, seen_concatenated))


def test_appended_tokens_are_static_and_follow_the_connectors(host, with_clip, clip_conds, prompt_states, oracle):
    recorded, seen = record_context(with_clip[0])
    ksample(host, recorded, *with_clip[1:])
    assert_exact(seen, oracle, *prompt_states)
    for _, context in seen:
        assert any(torch.equal(context[:, QUERIES:], clip[0][0]) for clip in clip_conds)


def test_ella_and_clip_together_equal_brute_force(host, forced, with_clip, clip_conds):
    expected = ksample(host, forced, *(concat(host, tagged(i + 1), clip) for i, clip in enumerate(clip_conds)))
    assert relative(ksample(host, *with_clip), expected) < LATENT


def test_concat_in_the_other_order_is_found(host, applied, with_clip, clip_conds, prompt_states, oracle):
    """ConditioningConcat with ELLA as conditioning_from: attention does not know the order of tokens."""
    swapped = [concat(host, clip, ella) for ella, clip in zip(applied[1:], clip_conds)]
    recorded, seen = record_context(applied[0])
    assert relative(ksample(host, recorded, *swapped), ksample(host, *with_clip)) < LATENT
    assert_exact([(timestep, context[:, -QUERIES:]) for timestep, context in seen], oracle, *prompt_states)


@pytest.mark.parametrize("ella_entries, clip_entries, expected", [(1, 3, 3), (3, 1, 3), (2, 2, 2)])
def test_several_clip_entries(host, model, ella, text_states, clip_conds, ella_entries, clip_entries, expected):
    patched, positive, _ = host.run(
        "ELLAApplyConditioning",
        model=model,
        ella=ella,
        positive=text_states[0] * ella_entries,
        clip_positive=clip_conds[0] * clip_entries,
    )
    assert [tokens.shape for tokens, _ in positive] == [(1, QUERIES + 77, 768)] * expected
    assert ksample(host, patched, positive, clip_conds[1], steps=1).isfinite().all()


def ranges(host, conditioning, switch):
    return [
        entry
        for start, end in ((0.0, switch), (switch, 1.0))
        for entry in host.run("ConditioningSetTimestepRange", conditioning=conditioning, start=start, end=end)[0]
    ]


def test_clip_entries_join_the_ella_prompt_of_their_time(host, model, ella, text_states, clip_conds):
    """A prompt that changes at 0.3 and CLIP words that change at 0.7: three spans, one evaluation in each."""
    patched, positive, _ = host.run(
        "ELLAApplyConditioning",
        model=model,
        ella=ella,
        positive=ranges(host, text_states[0], 0.3),
        clip_positive=ranges(host, clip_conds[0], 0.7),
    )
    spans = [(options["start_percent"], options["end_percent"]) for _, options in positive]
    assert spans == [(0.0, 0.3), (0.3, 0.7), (0.7, 1.0)]
    recorded, seen = record_context(patched)
    ksample(host, recorded, positive, clip_conds[1], steps=6, cfg=1.0)
    assert len(seen) == 6


def test_clip_words_for_each_image_join_one_prompt(host, model, ella, text_states, clip_conds, prompt_states, oracle):
    words = [[torch.cat([clip_conds[0][0][0], clip_conds[1][0][0]]), clip_conds[0][0][1]]]
    patched, positive, _ = host.run(
        "ELLAApplyConditioning", model=model, ella=ella, positive=text_states[0], clip_positive=words
    )
    recorded, seen = record_context(patched)
    ksample(host, recorded, positive, clip_conds[1], steps=2, cfg=1.0, image=latent(batch=2))
    assert_exact(seen, oracle, prompt_states[0])
    for _, context in seen:
        assert torch.equal(context[:, QUERIES:], words[0][0])


def test_numbers_of_entries_that_do_not_pair(host, model, ella, text_states, clip_conds):
    with pytest.raises(ValueError, match="2 ELLA prompts and 3 CLIP prompts"):
        host.run(
            "ELLAApplyConditioning",
            model=model,
            ella=ella,
            positive=text_states[0] * 2,
            clip_positive=clip_conds[0] * 3,
        )


def test_average_of_text_prompts(host, model, ella, text_states, second, oracle):
    blend = host.run(
        "ConditioningAverage", conditioning_to=text_states[0], conditioning_from=second, conditioning_to_strength=0.6
    )[0]
    patched, positive, negative = host.run(
        "ELLAApplyConditioning", model=model, ella=ella, positive=blend, negative=text_states[1]
    )
    to, added = text_states[0][0][0].float(), second[0][0].float()
    padded = torch.cat([added, torch.zeros(1, to.shape[1] - added.shape[1], to.shape[2])], dim=1)
    recorded, seen = record_context(patched)
    ksample(host, recorded, positive, negative)
    # ConditioningAverage blends in the text states' float16: three digits.
    blended = blend[0][0].double()
    assert relative(blended, 0.6 * to + 0.4 * padded) < 2e-3
    assert_exact(seen, oracle, blended, text_states[1][0][0])


def test_zeroed_tokens_stay_zero(host, applied, forced):
    zero = host.run("ConditioningZeroOut", conditioning=applied[2])[0]
    recorded, seen = record_context(applied[0])
    found = ksample(host, recorded, applied[1], zero)
    assert sum(not context.any() for _, context in seen) == 4
    assert relative(found, ksample(host, forced, tagged(1), [[torch.zeros(1, QUERIES, 768), {}]])) < LATENT


def multiplied(host, conditioning, factor):
    if "ConditioningMultiply" not in host.node_classes:
        pytest.skip("this host has no ConditioningMultiply")
    return host.run("ConditioningMultiply", conditioning=conditioning, multiplier=factor)[0]


def averaged(host, to, added):
    return host.run("ConditioningAverage", conditioning_to=to, conditioning_from=added, conditioning_to_strength=0.25)[
        0
    ]


# What core's nodes make of two ELLA prompts and a CLIP prompt after Apply ELLA.
AFTER = {
    "multiply": lambda host, first, second, clip: multiplied(host, first, 1.5),
    "average with clip": lambda host, first, second, clip: averaged(host, first, clip),
    "average of clip with it": lambda host, first, second, clip: averaged(host, clip, first),
    "average of both": lambda host, first, second, clip: averaged(host, first, second),
    "concat": lambda host, first, second, clip: concat(host, first, second),
    "concat after clip": lambda host, first, second, clip: concat(host, clip, first),
    "concat around clip": lambda host, first, second, clip: concat(host, concat(host, first, clip), second),
    "concat of three": lambda host, first, second, clip: concat(
        host, clip, concat(host, second, concat(host, first, first))
    ),
}


@pytest.mark.parametrize("name", AFTER)
def test_what_cores_nodes_make_of_the_tokens_follows_the_timestep(
    host, model, ella, text_states, second, clip_conds, oracle, name
):
    """The context of an evaluation is what the same node makes of the float64 tokens of its own timestep."""
    patched, first = host.run("ELLAApplyConditioning", model=model, ella=ella, positive=text_states[0])[:2]
    patched, other = host.run("ELLAApplyConditioning", model=patched, ella=ella, positive=second)[:2]
    recorded, seen = record_context(patched)
    ksample(host, recorded, AFTER[name](host, first, other, clip_conds[0]), first, steps=2, cfg=1.0)
    assert len(seen) == 2
    for timestep, context in seen:
        tokens = [
            [[oracle(prompt[0][0].double(), torch.tensor([timestep])), {}]] for prompt in (text_states[0], second)
        ]
        expected = AFTER[name](host, *tokens, [[clip_conds[0][0][0].double(), {}]])
        assert relative(context, expected[0][0]) < CONTEXT


def test_tokens_that_a_file_brought_are_found(host, model, ella, text_states, second, clip_conds, oracle):
    """A node that takes the tensor through a file or numpy leaves its values alone."""
    patched, first = host.run("ELLAApplyConditioning", model=model, ella=ella, positive=text_states[0])[:2]
    patched, other = host.run("ELLAApplyConditioning", model=patched, ella=ella, positive=second)[:2]
    mixed = concat(host, concat(host, clip_conds[0], other), first)
    mixed = [[torch.from_numpy(mixed[0][0].numpy().copy()), mixed[0][1]]]
    recorded, seen = record_context(patched)
    ksample(host, recorded, mixed, first, steps=2, cfg=1.0)
    for timestep, context in seen:
        expected = [oracle(prompt[0][0].double(), torch.tensor([timestep])) for prompt in (second, text_states[0])]
        assert relative(context, torch.cat([clip_conds[0][0][0].double(), *expected], dim=1)) < CONTEXT


def test_values_changed_outside_of_torch_are_refused(host, applied):
    changed = [[torch.from_numpy(applied[1][0][0].numpy() * 0.5), applied[1][0][1]]]
    with pytest.raises(ValueError, match="wire such a node between ELLA Text Encode and Apply ELLA"):
        ksample(host, applied[0], changed, applied[2], steps=1)


def weighted(host, t5, text):
    return host.run("ELLAT5TextEncode", clip=t5, text=text, max_length=0)[0][0][0]


def test_weight_one_changes_no_bit(host, t5):
    assert torch.equal(weighted(host, t5, "a (red:1.0) fox"), weighted(host, t5, "a red fox"))


@pytest.mark.parametrize(
    "text, weights",
    [
        ("a (red:1.3) fox", {"red": 1.3}),
        ("a (red) fox", {"red": 1.1}),
        ("a ((red)) fox", {"red": 1.1 * 1.1}),
        ("a (red (blue:1.5):0.5) fox", {"red": 0.5, "blue": 1.5}),
        (r"a \(red\) fox", {}),
    ],
)
def test_prompt_weights_scale_the_text_states_by_the_hosts_rule(host, t5, text, weights):
    """(z - z_empty) * weight + z_empty for each token, with z_empty the end token and padding."""
    encoder = t5.cond_stage_model.t5xl.encoder
    tokens = t5.tokenize(text)["t5xl"][0]
    ids = [token for token, _ in tokens]
    plain = encoder.read(ids).double()
    empty = encoder.read([1] + [0] * (len(ids) - 1)).double()
    factors = torch.tensor([weight for _, weight in tokens], dtype=torch.float64)[None, :, None]
    words = {word: weight for token, weight in tokens for word in [encoder.tokenizer.decode([token])] if weight != 1.0}
    assert words.keys() == weights.keys()
    assert all(abs(words[word] - weight) < 1e-6 for word, weight in weights.items())
    # float16 text states: three digits.
    assert relative(weighted(host, t5, text), (plain - empty) * factors + empty) < 2e-3


@pytest.mark.parametrize("positive, negative", [(1, 300), (300, 1), (77, 128), (0, 0)])
def test_prompts_of_different_lengths_equal_themselves_alone(host, model, ella, t5, oracle, positive, negative):
    """Never repeated to a common length, which would change what the connector reads."""
    conds = [
        host.run("ELLAT5TextEncode", clip=t5, text=PROMPT if length else "", max_length=length)[0]
        for length in (positive, negative)
    ]
    patched, positive, negative = host.run(
        "ELLAApplyConditioning", model=model, ella=ella, positive=conds[0], negative=conds[1]
    )
    prompts = conds[0][0][0], conds[1][0][0]
    recorded, seen = record_context(patched)
    found = ksample(host, recorded, positive, negative, steps=2)
    assert_exact(seen, oracle, *prompts)
    assert relative(found, ksample(host, brute_force(model, oracle, *prompts), tagged(1), tagged(2), steps=2)) < LATENT


def test_positive_only_with_clip_negative(host, model, ella, text_states, clip_conds, forced, prompt_states, oracle):
    patched, positive, negative = host.run(
        "ELLAApplyConditioning", model=model, ella=ella, positive=text_states[0], clip_negative=clip_conds[1]
    )
    recorded, seen = record_context(patched)
    found = ksample(host, recorded, positive, negative)
    assert_exact([step for step in seen if step[1].shape[1] == QUERIES], oracle, prompt_states[0])
    assert relative(found, ksample(host, forced, tagged(1), clip_conds[1])) < LATENT


def test_negative_only(host, applied, clip_conds, forced):
    assert (
        relative(ksample(host, applied[0], clip_conds[0], applied[2]), ksample(host, forced, clip_conds[0], tagged(2)))
        < LATENT
    )
