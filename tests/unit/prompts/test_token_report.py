"""Words of a prompt and the report on its tokens, with both kinds of tokenizer."""

import pytest
import sentencepiece
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from ella_core.language_models.spiece_tokenizer import SentencePieceTokenizer
from ella_core.language_models.tokenizer_file import END, PAD, load_tokenizer
from ella_core.prompts.prompt_words import Piece, words_of
from ella_core.prompts.token_report import token_report

TEXT = "a red teapot, a red fox"


@pytest.fixture(scope="module")
def fast_tokenizer(tmp_path_factory):
    path = tmp_path_factory.mktemp("fast") / "tokenizer.json"
    pieces = ["<pad>", "</s>", "<unk>", "\u2581", "\u2581a", "\u2581red", "\u2581tea", "pot", ",", "\u2581fox"]
    tokenizer = Tokenizer(models.Unigram([(piece, -float(i)) for i, piece in enumerate(pieces)], unk_id=2))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.save(str(path))
    return load_tokenizer(str(path), rows=len(pieces))


@pytest.fixture(scope="module")
def spiece_tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spiece")
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([TEXT, "teapot foxes", "a pot of tea"] * 20),
        model_prefix=str(folder / "spiece"),
        vocab_size=40,
        hard_vocab_limit=False,
        pad_id=PAD,
        eos_id=END,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    return SentencePieceTokenizer(str(folder / "spiece.model"))


def pieces_of(tokenizer, text):
    """As the host does it: ids, and their texts from the vocabulary."""
    vocabulary = {number: text for text, number in tokenizer.get_vocab().items()}
    return [Piece(number, vocabulary[number], is_end=number == END) for number in tokenizer(text)["input_ids"]]


@pytest.mark.parametrize("kind", ["fast_tokenizer", "spiece_tokenizer"])
def test_words_are_those_between_spaces(request, kind):
    pieces = pieces_of(request.getfixturevalue(kind), TEXT)
    words = words_of(pieces)
    assert [word.text for word in words] == TEXT.split()
    assert [piece for word in words for piece in word.pieces] == pieces[:-1]
    assert [word.start for word in words[1:]] == [word.stop for word in words[:-1]]


def piece(text, weight=1.0):
    return Piece(
        {"</s>": END, "<pad>": PAD}.get(text, 9), text, weight, is_end=text == "</s>", is_padding=text == "<pad>"
    )


@pytest.mark.parametrize(
    "texts, expected",
    [
        (["</s>"], []),
        (["</s>", "<pad>", "<pad>"], []),
        (["\u2581", "<unk>", "\u2581", "fox", "</s>"], ["<unk>", "fox"]),
        (["\u2581", "\u2581a", "</s>"], ["\u2581", "a"]),
        (["<pad>", "\u2581a", "</s>", "\u2581b", "</s>", "<pad>"], ["<pad>", "a</s>", "b"]),
    ],
)
def test_unusual_pieces(texts, expected):
    """Only the last end token and what follows it was added; a person may write the others."""
    end = max(place for place, text in enumerate(texts) if text == "</s>")
    pieces = [Piece(9, text) for text in texts[:end]] + [piece(text) for text in texts[end:]]
    assert [word.text for word in words_of(pieces)] == expected


WHOLE = [
    piece("\u2581a"),
    piece("\u2581red", 1.3),
    piece("\u2581tea"),
    piece("pot"),
    piece(","),
    piece("\u2581fox"),
    piece("</s>"),
]


def test_a_whole_prompt():
    assert token_report(WHOLE, WHOLE).split("\n") == [
        "7 tokens: 6 pieces of the prompt, 1 end token, 0 padding.",
        "Nothing was cut.",
        "",
        "word | weight | pieces (ids)",
        "a | 1 | \u2581a (9)",
        "red | 1.3 | \u2581red (9)",
        "teapot, | 1 | \u2581tea (9)  pot (9)  , (9)",
        "fox | 1 | \u2581fox (9)",
        "end token | </s> (1)",
    ]


def test_padding_is_counted():
    lines = token_report(WHOLE, [*WHOLE, piece("<pad>"), piece("<pad>")]).split("\n")
    assert lines[:2] == ["9 tokens: 6 pieces of the prompt, 1 end token, 2 padding.", "Nothing was cut."]
    assert lines[-1] == "padding | 2 x <pad> (0)"


def test_words_that_were_cut():
    lines = token_report(WHOLE, WHOLE[:2] + WHOLE[-1:]).split("\n")
    assert lines[:3] == [
        "3 tokens: 2 pieces of the prompt, 1 end token, 0 padding.",
        "Cut by max_length 3: the last 4 pieces of 6.",
        "Words not read (2): teapot, fox",
    ]
    assert not any(line.startswith("fox") for line in lines)


def test_a_word_that_was_cut_inside():
    lines = token_report(WHOLE, WHOLE[:4] + WHOLE[-1:]).split("\n")
    assert lines[1:4] == [
        "Cut by max_length 5: the last 2 pieces of 6.",
        "Cut inside a word: teapot, is read as \u2581tea pot.",
        "Words not read (1): fox",
    ]
    assert "teapot | 1 | \u2581tea (9)  pot (9)" in lines


def test_no_words():
    end = [piece("</s>")]
    assert token_report(end, end).startswith("1 tokens: 0 pieces of the prompt, 1 end token")
    assert "Words not read (4): a red teapot, fox" in token_report(WHOLE, end)
