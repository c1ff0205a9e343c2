"""What ELLA Text Encode shows: the number of tokens, and the words that a maximum length cut."""

from ella_core.prompts.prompt_words import SPACE, Piece
from ella_core.prompts.token_count import cut_sentence, token_count

END = Piece(1, "</s>", is_end=True)
PADDING = Piece(0, "<pad>", is_padding=True)


def pieces(*words):
    """Pieces of words in the form "tea|pot", and the end token."""
    own = [(SPACE if place == 0 else "") + text for word in words for place, text in enumerate(word.split("|"))]
    return [*(Piece(9, text) for text in own), END]


def test_count():
    fox, teapot = pieces("a", "fox"), pieces("tea|pot")
    assert token_count([[END]]) == "1 token"
    assert token_count([fox]) == "3 tokens"
    assert token_count([[*fox, PADDING, PADDING]]) == "5 tokens, 2 of them padding"
    assert token_count([fox, [*teapot, PADDING]]) == "7 tokens in 2 parts (3 + 4), 1 of them padding"


def test_cut():
    whole = pieces("a", "red", "tea|pot", "fox")
    assert cut_sentence([whole], [whole]) == ""
    assert cut_sentence([whole], [[*whole, PADDING]]) == ""
    assert cut_sentence([whole], [[*whole[:2], END]]) == "max_length 3 cut 2 words: teapot fox"
    assert cut_sentence([whole], [[*whole[:3], END]]) == "max_length 4 cut 2 words: teapot (its end) fox"
    assert cut_sentence([whole], [[*whole[:4], END]]) == "max_length 5 cut 1 word: fox"
    short = [*pieces("hen"), PADDING, PADDING, PADDING]
    assert cut_sentence([pieces("hen"), whole], [short, [*whole[:4], END]]) == "max_length 5 cut 1 word: fox"


def test_many_cut_words_are_not_all_named():
    whole = pieces(*(f"w{number}" for number in range(100)))
    sentence = cut_sentence([whole], [[*whole[:10], END]])
    assert sentence.startswith("max_length 11 cut 90 words: w10 w11 ") and sentence.endswith(" w39 and 60 more")
