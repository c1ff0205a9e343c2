"""Textual embeddings and LoRA tags in the prompt of a language model are refused; prose that looks alike is not."""

import pytest

from ella_core import ELLAError
from ella_core.prompts.misplaced_words import check_words


@pytest.mark.parametrize(
    "text, word",
    [
        ("a fox <lora:add_detail:0.8>", "<lora:add_detail:0.8>"),
        ("<LoRA:my style:1.0:0.5>, a fox", "<LoRA:my style:1.0:0.5>"),
        ("(a <lyco:thing:1>:1.2)", "<lyco:thing:1>"),
        ("< lora:x:1 >", "< lora:x:1 >"),
    ],
)
def test_a_lora_is_refused(text, word):
    with pytest.raises(ELLAError) as error:
        check_words(text)
    assert f"contains {word}," in str(error.value) and "Load LoRA" in str(error.value)


@pytest.mark.parametrize("text", ["embedding:easynegative", "a (embedding:x:1.2)", "bad, embedding:hands"])
def test_an_embedding_is_refused(text):
    with pytest.raises(ELLAError, match="textual embeddings belong to CLIP"):
        check_words(text)


@pytest.mark.parametrize("text", ["", "a lora: a kind of network", "a < b > c", "lorry <3", "the embedding of a stone"])
def test_prose_is_let_through(text):
    check_words(text)
