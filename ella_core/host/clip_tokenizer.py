"""What a host CLIP of ELLA calls to tokenize: the host's weight syntax over the language model's own tokenizer."""

from types import SimpleNamespace

import comfy.sd1_clip

from ..errors import ELLAError
from ..language_models.text_encoder import fit_length
from ..prompts.misplaced_words import check_words
from ..prompts.prompt_parts import prompt_parts
from ..prompts.prompt_words import SPACE, Piece
from ..prompts.unreadable import unreadable_runs

NAME = "t5xl"
UNKNOWN = "<unk>"  # in the vocabularies of sentencepiece
PADDED = "<pad>"  # how padding is shown where a tokenizer has no word for it
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


class SegmentTokenizer(comfy.sd1_clip.SDTokenizer):
    """The host's weight syntax over T5's tokenizer, each weighted part of a prompt tokenized on its own; any length."""

    def __init__(self, tokenizer, added):
        super().__init__(
            tokenizer_class=SimpleNamespace(from_pretrained=lambda path: tokenizer),
            max_length=99999999,
            min_length=1,
            pad_to_max_length=False,
            pad_with_end=False,
            pad_token=added.padding,
            has_start_token=False,
            embedding_key=NAME,
        )
        self.unknown = tokenizer.get_vocab().get(UNKNOWN)  # the token id of all that the vocabulary lacks

    def texts(self, text, token_ids, spell_unreadable):
        """What the prompt's own `token_ids` stand for: pieces of the vocabulary, else the prompt's letters."""
        runs = iter(self.unreadable(text) if spell_unreadable else ())
        return [next(runs, UNKNOWN) if one == self.unknown else self.inv_vocab[one] for one in token_ids]

    def unreadable(self, text):
        """What of a prompt T5 has no piece for, a string for each token, in order."""
        segments = [segment for segment, _ in segments_of(text)]
        runs = unreadable_runs(segments, lambda character: self.unknown in self.ids(character))
        # A tokenizer that joins other characters than expected must not get its tokens explained by wrong ones.
        return runs if len(runs) == sum(self.ids(segment).count(self.unknown) for segment in segments) else []

    def ids(self, text):
        return self.tokenizer(text)["input_ids"]


class OffsetTokenizer(comfy.sd1_clip.SDTokenizer):
    """The host's weight syntax over any other tokenizer: the prompt is tokenized whole, so weights change no token.

    A token has the weight of the place that its last letter has in the prompt.
    """

    def __init__(self, tokenizer, added):
        super().__init__(
            tokenizer_class=SimpleNamespace(from_pretrained=lambda path: tokenizer),
            pad_token=added.padding,
            has_start_token=bool(added.start),
            has_end_token=bool(added.end),
            embedding_key=NAME,
        )
        self.added = added
        self.unknown = tokenizer.unk_token_id

    def tokenize_with_weights(self, text, return_word_ids=False, **kwargs):
        """Prompt -> [[(token id, weight), ...]], with the number of each word where those are asked for."""
        segments = segments_of(text)
        weights = [weight for segment, weight in segments for _ in segment]
        encoded = self.tokenizer("".join(segment for segment, _ in segments), return_offsets_mapping=True)
        section = [
            (token_id, weights[stop - 1] if stop > start else 1.0)
            for token_id, (start, stop) in zip(encoded["input_ids"], encoded["offset_mapping"])
        ] or [(self.added.padding, 1.0)]
        if return_word_ids:
            section = [
                (*pair, 0 if number is None else number + 1) for pair, number in zip(section, encoded.word_ids())
            ]
        return [section]

    def texts(self, text, token_ids, spell_unreadable):
        """What the prompt's own `token_ids` stand for: its letters, after the mark of a space where a word begins."""
        whole = "".join(segment for segment, _ in segments_of(text))
        offsets = self.tokenizer(whole, return_offsets_mapping=True)["offset_mapping"][len(self.added.start) :]
        texts = []
        for _, (start, stop) in zip(token_ids, offsets):
            letters = whole[start:stop]
            after_space = start == 0 or whole[start - 1].isspace()
            begins = letters[:1].isspace() or after_space and texts[-1:] != [SPACE]
            texts.append((SPACE if begins else "") + letters.strip())
        return texts

    def untokenize(self, token_weight_pair):
        return [(pair, self.inv_vocab.get(pair[0], PADDED)) for pair in token_weight_pair]


def segments_of(text):
    """[(part of a prompt as the tokenizer reads it, weight)] by the host's weight syntax."""
    weighted = comfy.sd1_clip.token_weights(comfy.sd1_clip.escape_important(text), 1.0)
    return [(comfy.sd1_clip.unescape_important(segment), weight) for segment, weight in weighted]


class ELLATokenizer(comfy.sd1_clip.SD1Tokenizer):
    """What a host CLIP calls to tokenize: adds the token length and refuses words that are not for a language model."""

    def __init__(self, encoder):
        kind = SegmentTokenizer if encoder.architecture == "t5" else OffsetTokenizer
        super().__init__(name=NAME, tokenizer=lambda **_: kind(encoder.tokenizer, encoder.added))
        self.added = encoder.added

    @property
    def own(self):
        return getattr(self, NAME)

    def tokenize_with_weights(self, text, return_word_ids=False, max_length=0, **kwargs):
        """Prompt -> PromptTokens, a section for each part; `max_length` is of each, 0 the flexible length."""
        if not isinstance(text, str):
            raise ELLAError(
                f"This text encode node gives ELLA's text encoder a {type(text).__name__} where a prompt is expected; "
                f"{OTHER_NODE}"
            )
        check_words(text)
        read = super().tokenize_with_weights
        parts = [read(part, return_word_ids, **kwargs)[NAME] for part in prompt_parts(text)]
        tokens = PromptTokens({NAME: sum(parts, [])})
        if max_length > 0:
            padding = (self.added.padding, 1.0, 0)[: 3 if return_word_ids else 2]
            tokens[NAME] = [fit_length(section, max_length, self.added, padding) for section in tokens[NAME]]
        return tokens

    def pieces(self, section, text=None, spell_unreadable=False):
        """Pieces of a section of (token id, weight, ...), with its prompt in words of the prompt; see `texts`."""
        ids = [token_id for token_id, *_ in section]
        start, stop = own_range(ids, self.added)
        known = [piece for _, piece in self.own.untokenize(section)]
        own = known[start:stop] if text is None else self.own.texts(text, ids[start:stop], spell_unreadable)
        pieces = []
        for place, (token_id, weight, *_) in enumerate(section):
            inside = start <= place < stop
            is_padding = place >= stop and token_id == self.added.padding
            is_end = place >= stop and not is_padding
            is_unreadable = inside and token_id == self.own.unknown
            shown = own[place - start] if inside else known[place]
            pieces.append(Piece(token_id, shown, weight, place < start, is_end, is_padding, is_unreadable))
        return pieces


def own_range(ids, added):
    """(start, stop) of the token ids that are a prompt's own, between what the tokenizer added, padding left out."""
    stop = len(ids)
    while stop and ids[stop - 1] == added.padding:
        stop -= 1
    start = len(added.start) if tuple(ids[: len(added.start)]) == added.start else 0
    has_end = added.end and tuple(ids[stop - len(added.end) : stop]) == added.end
    return start, max(start, stop - len(added.end) if has_end else stop)
