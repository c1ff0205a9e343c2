"""The paper's own judge, mPLUG-large, through modelscope where the user has installed it.

Its numbers alone may stand beside the paper's. modelscope's requirements move torch and transformers, so it belongs
into an environment of its own; a RUN folder is all that the two need to share.
"""

from __future__ import annotations

from pathlib import Path

from ..errors import EvaluationError
from ..suites.suite import YES_NO
from .judge import Identity, Judge, fingerprint

MODEL = "damo/mplug_visual-question-answering_coco_large_en"


class Mplug(Judge):
    """mPLUG from `folder`, or from modelscope's own cache without one."""

    name = "mplug"
    kinds = (YES_NO,)

    def __init__(self, folder=None, device=None, dtype=None):
        try:
            from modelscope.pipelines import pipeline
            from modelscope.utils.constant import Tasks
        except ImportError as error:
            raise EvaluationError(
                f"mplug needs modelscope, which can't be imported here ({error}); install it in an environment of its "
                f"own (pip install modelscope, see the page of {MODEL}) and run this command there on the same folder."
            ) from None
        if dtype is not None:
            raise EvaluationError("mplug runs as modelscope loads it; leave --dtype out.")
        self.pipeline = pipeline(
            Tasks.visual_question_answering, model=str(folder or MODEL), device=str(device) if device else "gpu"
        )
        self.identity = Identity(
            judge=self.name,
            model=Path(folder).name if folder else MODEL,
            fingerprint=fingerprint(folder) if folder else "",
            template="{question}",
        )

    def answer(self, pictures, questions):
        """[(the text that mPLUG generates, 1.0 where it is exactly "yes", else 0.0)], as the official script has it."""
        said = [
            self.pipeline({"image": picture, "question": question.text})["text"]
            for picture, question in zip(pictures, questions, strict=True)
        ]
        return [(text, float(text == "yes")) for text in said]
