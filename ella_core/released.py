"""The files that were released with the paper: what they are called, where they come from and where they go."""

from __future__ import annotations

from dataclasses import dataclass

REPOSITORY = "huggingface.co/QQGYLab/ELLA"


@dataclass(frozen=True)
class ReleasedFile:
    """A file of REPOSITORY at `path` there; `folder` is the host's model folder that it goes to, `size` for people."""

    path: str
    size: str
    folder: str

    @property
    def name(self):
        """The name under which a browser saves it, the folder's name in front."""
        return self.path.replace("/", "_")

    @property
    def url(self):
        return f"https://{REPOSITORY}/resolve/main/{self.path}"


CONNECTOR = ReleasedFile("ella-sd1.5-tsc-t5xl.safetensors", "134 MB", "ella")
TEXT_ENCODER_FOLDER = "models--google--flan-t5-xl--text_encoder"
TEXT_ENCODER = ReleasedFile(f"{TEXT_ENCODER_FOLDER}/model.safetensors", "2.5 GB", "text_encoders")
LANGUAGE_MODEL = "FLAN-T5-XL"
TEXT_DIM = 2048  # of its text states, which the released connector reads

# Ends of sentences that say what to do.
GET_CONNECTOR = f"use a connector such as {CONNECTOR.name} ({REPOSITORY})"
GET_TEXT_ENCODER = f"download the whole folder {TEXT_ENCODER_FOLDER} from {REPOSITORY}"
