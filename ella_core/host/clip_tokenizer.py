"""What a host CLIP of ELLA calls to tokenize: the host's weight syntax over the language model's own tokenizer."""

from types import SimpleNamespace

import comfy.sd1_clip

from ..errors import ELLAError
from ..language_models.t5 import END, PAD
from ..prompts.misplaced_words import check_words
from ..prompts.prompt_words import Piece
from ..prompts.unreadable import unreadable_runs

NAME = "t5xl"
UNKNOWN = "<unk>"  # in the vocabularies of sentencepiece
OTHER_NODE = (
    "use ELLA Text Encode, or the plain CLIP Text Encode, with the CLIP of Load ELLA Text Encoder, and nodes made for "
    "other models with their own CLIP."
)


class NoSuchTokens(ELLAError, KeyError):
    """A KeyError as well, for nodes that look whether a CLIP has tokens of a name and can do without."""

    __str__ = Exception.__str__  # KeyError's own would quote the sentence


class PromptTokens(dict):
    """{"t5xl": [[(token id, weight), ...]]}, which says in a sentence that it has nothing else."""

    def __missing__(self, key):
        raise NoSuchTokens(
            f"This text encode node is made for another model's CLIP (it asks for tokens of {key!s:.40}), and got "
            f"ELLA's text encoder; {OTHER_NODE}"
        )


class T5Tokenizer(comfy.sd1_clip.SDTokenizer):
    """The host's weight syntax over the text encoder's own tokenizer; any length, no start token."""

    def __init__(self, tokenizer):
        super().__init__(
            tokenizer_class=SimpleNamespace(from_pretrained=lambda path: tokenizer),
            max_length=99999999,
            min_length=1,
            pad_to_max_length=False,
            pad_with_end=False,
            pad_token=PAD,
            has_start_token=False,
            embedding_key=NAME,
        )


class ELLATokenizer(comfy.sd1_clip.SD1Tokenizer):
    """What a host CLIP calls to tokenize: adds the token length and refuses words that are not for T5."""

    def __init__(self, tokenizer):
        super().__init__(name=NAME, tokenizer=lambda **_: T5Tokenizer(tokenizer))
        self.unknown = tokenizer.get_vocab().get(UNKNOWN)  # the token id of all that the vocabulary lacks

    def tokenize_with_weights(self, text, return_word_ids=False, max_length=0, **kwargs):
        """Prompt -> PromptTokens; `max_length` 0 is the flexible length."""
        if not isinstance(text, str):
            raise ELLAError(
                f"This text encode node gives ELLA's text encoder a {type(text).__name__} where a prompt is expected; "
                f"{OTHER_NODE}"
            )
        check_words(text)
        tokens = PromptTokens(super().tokenize_with_weights(text, return_word_ids, **kwargs))
        if max_length > 0:
            tokens[NAME] = [fit_length(section, max_length) for section in tokens[NAME]]
        return tokens

    def pieces(self, section, text=None):
        """Pieces of a section of (token id, weight, ...); with its prompt, what T5 lacks is spelled out."""
        runs = iter(self.unreadable(text) if text is not None else ())
        pieces = []
        for (token_id, weight, *_), piece in self.untokenize(section):
            unknown = token_id == self.unknown
            shown = next(runs, piece) if unknown else piece
            pieces.append(Piece(token_id, shown, weight, is_end=token_id == END, is_unreadable=unknown))
        return pieces

    def unreadable(self, text):
        """What of a prompt T5 has no piece for, a string for each token, in order."""
        weighted = comfy.sd1_clip.token_weights(comfy.sd1_clip.escape_important(text), 1.0)
        segments = [comfy.sd1_clip.unescape_important(segment) for segment, _ in weighted]
        runs = unreadable_runs(segments, lambda character: self.unknown in self.ids(character))
        # A tokenizer that joins other characters than expected must not get its tokens explained by wrong ones.
        return runs if len(runs) == sum(self.ids(segment).count(self.unknown) for segment in segments) else []

    def ids(self, text):
        return getattr(self, NAME).tokenizer(text)["input_ids"]


def fit_length(section, length):
    """Cuts or pads a list of (token id, weight, ...) to `length`, the end token kept last as transformers does."""
    if len(section) > length:
        section = section[: length - 1] + section[-1:]
    padding = (PAD, 1.0, 0)[: len(section[0])]
    return section + [padding] * (length - len(section))
