"""The words yes, no and the numbers in a tokenizer's vocabulary, and the probability of one against the others."""

from __future__ import annotations

import torch

from ..errors import EvaluationError
from ..suites.suite import NUMBER, YES_NO

NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
).split()
WORDS = {YES_NO: ("yes", "no"), NUMBER: tuple(NUMBERS)}


class AnswerWords:
    """The first tokens that count as an answer: "yes", "Yes", " yes" and " Yes" for yes; numbers in figures too.

    `token_ids` maps each word to its token ids. A spelling of several tokens has no part in it, because its first token
    begins other words as well ("1" begins "10"). EvaluationError where yes or no has no token of its own.
    """

    def __init__(self, tokenizer):
        self.token_ids = {word: single_tokens(tokenizer, word) for words in WORDS.values() for word in words}
        for word in WORDS[YES_NO]:
            if not self.token_ids[word]:
                raise EvaluationError(
                    f"the judge's tokenizer has no token of its own for {word!r}; give the folder of a model that "
                    "answers questions in English, with its tokenizer in it."
                )

    @property
    def used(self):
        """The words that have tokens, with these."""
        return {word: ids for word, ids in self.token_ids.items() if ids}

    def probabilities(self, logits, questions):
        """The probability of each question's expected word among all words of its kind, from logits (B, vocabulary)."""
        logits = logits.float().cpu()
        return [self.probability(row, question) for row, question in zip(logits, questions, strict=True)]

    def probability(self, logits, question):
        """As `probabilities`, of one question and logits (vocabulary)."""
        masses = {
            word: torch.logsumexp(logits[self.token_ids[word]], 0)
            for word in WORDS[question.kind]
            if self.token_ids[word]
        }
        expected = word_of(question.expected)
        if expected not in masses:
            raise EvaluationError(
                f"the answer {question.expected!r} to {question.text!r} is no word that this judge can be asked for; "
                f"the words are {', '.join(masses)}."
            )
        return torch.exp(masses[expected] - torch.logsumexp(torch.stack(list(masses.values())), 0)).item()


def single_tokens(tokenizer, word):
    """Ids of the spellings of a word that are one token each, sorted."""
    spellings = [word, word.capitalize()] + ([str(NUMBERS.index(word))] if word in NUMBERS else [])
    encoded = [
        tokenizer.encode(space + spelling, add_special_tokens=False) for spelling in spellings for space in ("", " ")
    ]
    return sorted({ids[0] for ids in encoded if len(ids) == 1 and ids[0] != tokenizer.unk_token_id})


def word_of(answer):
    """An answer as one of WORDS where it is one: "Yes." -> "yes", "3" -> "three"."""
    word = answer.strip(" .,!\n\"'").lower()
    return NUMBERS[int(word)] if word.isdecimal() and int(word) < len(NUMBERS) else word


def is_answer(text, question):
    """Whether a text answers a question: with one of the words of its kind, where the kind has such."""
    return question.kind not in WORDS or word_of(text) in WORDS[question.kind]
