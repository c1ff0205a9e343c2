"""A vision language model answers in one word: Qwen3-VL, Qwen2.5-VL and whatever else transformers loads as
AutoModelForImageTextToText.

The picture stands before the question, in the model's own chat template; the answer is read from the probabilities of
its first token, greedy. That is GenEval 2's way to ask, with P(yes) set against P(no).
"""

from __future__ import annotations

import torch

from ..errors import EvaluationError
from ..suites.suite import NUMBER, YES_NO
from .answer_words import AnswerWords
from .judge import Identity, Judge, dtype_name, fingerprint
from .model_folder import checked_folder, loaded

TEMPLATE = "{question} Answer in one word."


class VisionLanguageModel(Judge):
    """The model in `folder`; `device` and `dtype` as in `loaded`, `template` the text that follows the picture."""

    name = "vlm"
    kinds = (YES_NO, NUMBER)

    def __init__(self, folder, device=None, dtype=None, template=TEMPLATE):
        from transformers import AutoModelForImageTextToText, AutoProcessor

        folder, _ = checked_folder(folder, "a vision language model such as Qwen3-VL-8B-Instruct")
        if "{question}" not in template:
            raise EvaluationError(
                f"the template {template!r} has no {{question}} in it; put it where the question goes."
            )
        self.template = template
        self.processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
        if getattr(self.processor, "chat_template", None) is None:
            raise EvaluationError(f"{folder} has no chat template; give the folder of an instruct model.")
        self.processor.tokenizer.padding_side = "left"  # so that the answer's first token is the last of each row
        self.model = loaded(AutoModelForImageTextToText, folder, device, dtype)
        self.words = AnswerWords(self.processor.tokenizer)
        self.identity = Identity(
            judge=self.name,
            model=folder.name,
            fingerprint=fingerprint(folder),
            template=template,
            token_ids=self.words.used,
            settings={"dtype": dtype_name(self.model.dtype)},
        )

    @torch.inference_mode()
    def answer(self, pictures, questions):
        """[(first token of the answer, P(expected word) among its kind)]."""
        texts = self.processor.apply_chat_template(
            [self.conversation(question) for question in questions], add_generation_prompt=True, tokenize=False
        )
        begun = self.processor.tokenizer.bos_token  # a template may write it, and then it must not be added again
        inputs = self.processor(
            text=texts,
            images=[[picture] for picture in pictures],
            padding=True,
            add_special_tokens=not (begun and texts[0].startswith(begun)),
            return_tensors="pt",
        ).to(self.model.device, self.model.dtype)
        logits = self.model.generate(
            **inputs, max_new_tokens=1, do_sample=False, output_logits=True, return_dict_in_generate=True
        ).logits[0]  # (B, vocabulary)
        said = self.processor.tokenizer.batch_decode(logits.argmax(-1, keepdim=True), skip_special_tokens=True)
        return list(zip((text.strip() for text in said), self.words.probabilities(logits, questions), strict=True))

    def conversation(self, question):
        """What is said to the model: the picture, then the question."""
        text = self.template.format(question=question.text)
        return [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}]
