"""BLIP answers a question about a picture, as T2I-CompBench asks it (BLIPvqa_eval): P(yes) / (P(yes) + P(no)).

The checkpoint is Salesforce/blip-vqa-capfilt-large in the form of transformers. Three things differ from transformers'
own use of it and count for the number: the question begins with BLIP's [ENC] token instead of [CLS], the picture has
480 pixels whatever the checkpoint was saved with (its positions are interpolated), and the answer does not
depend on the padding of a batch.
"""

from __future__ import annotations

import re

import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from ..suites.suite import NUMBER, YES_NO
from .answer_words import AnswerWords
from .judge import Identity, Judge, dtype_name, fingerprint
from .model_folder import checked_folder, loaded

SIZE = 480
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
REMOVED = re.compile(r"[.!\"()*#:;~]")
MOST_WORDS, MOST_TOKENS = 50, 35


class BlipVqa(Judge):
    """BLIP for question answering from `folder`; `device` and `dtype` as in `loaded`."""

    name = "blip-vqa"
    kinds = (YES_NO, NUMBER)

    def __init__(self, folder, device=None, dtype=None):
        from transformers import AutoTokenizer, BlipForQuestionAnswering

        folder, _ = checked_folder(folder, "BLIP for question answering", ("blip",))
        self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self.model = loaded(BlipForQuestionAnswering, folder, device, dtype or torch.float32)
        self.words = AnswerWords(self.tokenizer)
        text = self.model.config.text_config
        # BLIP adds two tokens to BERT's: [DEC], which begins an answer, and after it [ENC], which begins a question.
        self.answer_start, self.question_start = text.bos_token_id, text.bos_token_id + 1
        self.identity = Identity(
            judge=self.name,
            model=folder.name,
            fingerprint=fingerprint(folder),
            template="{question}",
            token_ids={"[DEC]": self.answer_start, "[ENC]": self.question_start, **self.words.used},
            settings={"pixels": SIZE, "longest question": MOST_TOKENS, "dtype": dtype_name(self.model.dtype)},
        )

    @torch.inference_mode()
    def answer(self, pictures, questions):
        """[(first word of the answer, P(expected word) among its kind)]; for yes, P(yes) / (P(yes) + P(no))."""
        distinct = {id(picture): picture for picture in pictures}
        rows = [list(distinct).index(id(picture)) for picture in pictures]
        pixels = torch.stack([pixels_of(picture) for picture in distinct.values()])  # (distinct, 3, 480, 480)
        pixels = pixels.to(self.model.device, self.model.dtype)
        seen = self.model.vision_model(pixels, interpolate_pos_encoding=True).last_hidden_state[
            rows
        ]  # (B, patches, width)
        asked = self.token_ids([question.text for question in questions])
        read = self.model.text_encoder(
            input_ids=asked.input_ids,
            attention_mask=asked.attention_mask,
            encoder_hidden_states=seen,
            encoder_attention_mask=torch.ones(seen.shape[:2], dtype=torch.long, device=seen.device),
        ).last_hidden_state  # (B, T, width)
        logits = self.first_logits(read, asked.attention_mask.sum(1))  # (B, vocabulary)
        said = self.tokenizer.batch_decode(logits.argmax(-1, keepdim=True), skip_special_tokens=True)
        return list(zip(said, self.words.probabilities(logits, questions), strict=True))

    def first_logits(self, read, lengths):
        """Logits (B, vocabulary) of each answer's first token, from question states (B, T, width) of `lengths` (B).

        transformers' decoder ignores the mask of what it reads, so questions of one length are decoded together and no
        padding is there to be read.
        """
        logits = read.new_empty(len(read), self.model.config.text_config.vocab_size)
        for length in lengths.unique():
            rows = (lengths == length).nonzero()[:, 0]
            start = torch.full((len(rows), 1), self.answer_start, device=read.device)
            decoded = self.model.text_decoder(input_ids=start, encoder_hidden_states=read[rows, :length])
            logits[rows] = decoded.logits[:, 0]
        return logits

    def token_ids(self, texts):
        """Input ids and attention mask (B, T) of questions, each with [ENC] in place of [CLS]."""
        asked = self.tokenizer(
            [plain_question(text) for text in texts],
            padding="longest",
            truncation=True,
            max_length=MOST_TOKENS,
            return_tensors="pt",
        ).to(self.model.device)
        asked.input_ids[:, 0] = self.question_start
        return asked


def pixels_of(picture):
    """(3, 480, 480) of a PIL picture, squeezed to a square by PIL's bicubic filter, in CLIP's range."""
    squeezed = functional.resize(picture, [SIZE, SIZE], v2.InterpolationMode.BICUBIC)
    return functional.normalize(
        functional.to_dtype(functional.pil_to_tensor(squeezed), torch.float32, scale=True), MEAN, STD
    )


def plain_question(text):
    """A question as BLIP was trained on it: in small letters, without some of the punctuation, 50 words at most."""
    return " ".join(REMOVED.sub("", text.lower()).rstrip(" ").split(" ")[:MOST_WORDS])
