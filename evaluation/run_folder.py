"""A run: the folder that every step of an evaluation reads, writes and resumes from.

    run.json                          what was asked: suite, data, workflow, images, seed
    suite.json                        the prompts and questions, as `Suite.to_json` writes them
    pictures/<prompt id>/<index>.png  the server's own files, byte for byte
    manifest.jsonl                    {"prompt": id, "index": 0, "seed": 1001, "server": url, "sha256": of the file}
    judge.<judge>.json                what a judge is: model, template, token ids, versions
    answers.<judge>.jsonl             {"prompt": id, "index": 0, "question": 2, "answer": "yes", "p_yes": 0.97}
    *.lock                            held while a process writes, gone with it

Of two lines on the same thing the later one counts. Files but the two .jsonl appear whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from filelock import FileLock, Timeout
from PIL import Image

from .errors import EvaluationError
from .line_file import LineFile
from .suites.suite import Suite

RUN, SUITE, PICTURES, MANIFEST = "run.json", "suite.json", "pictures", "manifest.jsonl"


class RunFolder:
    """An existing run at `path`; EvaluationError where there is none.

    `settings` is what run.json holds; it always has "images" (pictures of each prompt) and "seed" (an integer).
    """

    def __init__(self, path):
        self.path = Path(path)
        try:
            self.settings = json.loads((self.path / RUN).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise EvaluationError(
                f"{self.path} holds no {RUN}; give the folder that `python -m evaluation generate --out` made."
            ) from None
        except ValueError:
            raise EvaluationError(f"{self.path / RUN} is no JSON; give a folder that `generate` made.") from None
        self.manifest = LineFile(self.path / MANIFEST)

    @classmethod
    def create(cls, path, settings, suite):
        """Makes a run, or opens the one that is there if it was asked for the same, else raises EvaluationError."""
        path = Path(path)
        if (path / RUN).exists():
            run = cls(path)
            differing = [key for key in settings if settings[key] != run.settings.get(key)]
            if not differing and run.suite.to_json() != suite.to_json():
                differing = ["prompts and questions"]
            if differing:
                raise EvaluationError(
                    f"{path} was begun with another {' and '.join(differing)}; ask for the same to resume it, "
                    "or give --out a new folder."
                )
            return run
        begun = {SUITE, f"{SUITE}.part", f"{RUN}.part"}  # all that a kill just here can leave
        if path.exists() and any(one.name not in begun for one in path.iterdir()):
            raise EvaluationError(f"{path} holds files but no {RUN}; give --out a new or an empty folder.")
        write_whole(path / SUITE, suite.to_json().encode())
        write_whole(path / RUN, json.dumps(settings, indent=2, ensure_ascii=False).encode())
        return cls(path)

    @cached_property
    def suite(self):
        """The Suite that the run was begun with."""
        return Suite.from_json((self.path / SUITE).read_text(encoding="utf-8"))

    @contextmanager
    def lock(self, name):
        """Holds off a second process that would write the same: "manifest", or "answers.<judge>".

        Raises EvaluationError at once if another process holds it. The system frees it when its process ends, however.
        """
        lock = FileLock(self.path / f"{name}.lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise EvaluationError(
                f"another process is writing {name} of {self.path}; wait for it or end it, then run this again."
            ) from None
        try:
            yield
        finally:
            lock.release()

    # ---- pictures

    def wanted(self):
        """(prompt id, index) of every picture, in the order of the suite."""
        return [(prompt.id, index) for prompt in self.suite.prompts for index in range(self.settings["images"])]

    def picture_path(self, prompt_id, index):
        """Where a picture is, or will be."""
        return self.path / PICTURES / prompt_id / f"{index}.png"

    def add_picture(self, prompt_id, index, data, seed, server=None):
        """Keeps the bytes of a PNG file, then its line of the manifest."""
        write_whole(self.picture_path(prompt_id, index), data)
        sha256 = hashlib.sha256(data).hexdigest()
        self.manifest.append({"prompt": prompt_id, "index": index, "seed": seed, "server": server, "sha256": sha256})

    def pictures(self, verify=False):
        """{(prompt id, index): manifest line} of the pictures whose files are there (`verify`: and unchanged)."""
        lines = {(line["prompt"], line["index"]): line for line in self.manifest.read()}
        return {key: line for key, line in lines.items() if self._is_there(*key, line["sha256"] if verify else None)}

    def missing(self, verify=False):
        """(prompt id, index) of the pictures that are still to be made."""
        there = self.pictures(verify)
        return [key for key in self.wanted() if key not in there]

    def read_picture(self, prompt_id, index):
        """A picture as RGB PIL image; EvaluationError where it is missing or damaged."""
        path = self.picture_path(prompt_id, index)
        try:
            with Image.open(path) as image:
                return image.convert("RGB")
        except FileNotFoundError:
            found = "is missing"
        except (OSError, SyntaxError, ValueError):
            found = "is damaged"
        raise EvaluationError(f"{path} {found}; run `generate` on this folder again, it makes just what lacks.")

    def _is_there(self, prompt_id, index, sha256=None):
        path = self.picture_path(prompt_id, index)
        if sha256 is None:
            return path.is_file()
        try:
            return hashlib.sha256(path.read_bytes()).hexdigest() == sha256
        except OSError:
            return False

    # ---- answers

    def judges(self):
        """Names of the judges that answered here, sorted."""
        return sorted(path.name[len("answers.") : -len(".jsonl")] for path in self.path.glob("answers.*.jsonl"))

    def answers(self, judge):
        """The LineFile of a judge's answers."""
        return LineFile(self.path / f"answers.{judge}.jsonl")

    def judge_settings(self, judge):
        """What `keep_judge_settings` kept, or {}."""
        try:
            return json.loads((self.path / f"judge.{judge}.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}

    def keep_judge_settings(self, judge, settings):
        """Writes down what a judge is; EvaluationError if its earlier answers here came from another one."""
        kept = self.judge_settings(judge)
        settings = json.loads(json.dumps(settings))
        if not kept:
            write_whole(self.path / f"judge.{judge}.json", json.dumps(settings, indent=2, ensure_ascii=False).encode())
        elif kept != settings:
            keys = sorted(key for key in kept.keys() | settings.keys() if kept.get(key) != settings.get(key))
            raise EvaluationError(
                f"the answers of {judge} in {self.path} came from another {' and '.join(keys)}, which makes it another "
                f"judge; move answers.{judge}.jsonl and judge.{judge}.json away to begin anew."
            )


def write_whole(path, data):
    """Puts bytes into a file that appears whole or not at all, and makes its folder. EvaluationError where it can't."""
    path = Path(path)
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        os.replace(part, path)
    except OSError as error:
        try:
            part.unlink()
        except OSError:
            pass
        raise EvaluationError(
            f"{path} can't be written ({error.strerror}); make room and run the same command again, "
            "what was done is kept."
        ) from None
