"""A run: the folder that a training writes and goes on from.

run.json                    options, facts (base, connector, text encoder) and the command, for --resume
saves/step-000001000/       a save, whole or not there at all; the newest ones are kept
    connector.safetensors       the weights, as docs/connector_format.md describes them
    connector_ema.safetensors   their moving average, where there is one
    lora.safetensors, lora_ema.safetensors   the LoRA's own weights, where one is trained
    optimizer.safetensors       the optimizer's state
    data.safetensors            tensors of the data's position, where it has any
    state.json                  step, data position of each process, numbers of the optimizer
connector.safetensors, connector_ema.safetensors   those of the newest save
start.safetensors           the connector that a LoRA is trained on
log.jsonl                   {"step": 50, "loss": 0.12, "learning_rate": 1e-4, "gradient_norm": 0.5, ...}
validation.jsonl, validation.png, samples/, tensorboard/
lock                        held while a process trains
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from safetensors import SafetensorError

from .errors import TrainingError
from .options import Options, check_resumed, refuse_differences
from .whole_file import PART, sync, write_whole

RUN, SAVES, STEP, START = "run.json", "saves", "step-", "start.safetensors"
CONNECTOR, CONNECTOR_EMA = "connector.safetensors", "connector_ema.safetensors"


class RunFolder:
    """The run at `path`; TrainingError where there is none, or one that can't be read."""

    def __init__(self, path):
        self.path = Path(path)
        try:
            self.settings = json.loads((self.path / RUN).read_text(encoding="utf-8"))
            self.options = Options(**self.settings["options"])
        except (FileNotFoundError, NotADirectoryError):
            raise TrainingError(f"{self.path} holds no {RUN}; give --resume the folder that --out made.") from None
        except (ValueError, TypeError, KeyError):
            raise TrainingError(
                f"{self.path / RUN} is not what this version writes; go on with the version that began the run, or "
                "begin a new one from its connector file with --connector."
            ) from None

    @classmethod
    def begin(cls, path, options, facts, command=None):
        """The run at `path`, new, or the one that is there if it was begun with the same, else TrainingError.

        `facts` are values of JSON by name that must be the same for a run to go on; `command` is kept for --resume.
        Options of a run that goes on may differ where that changes nothing of what is learned; the new ones hold, and
        are written by `keep_settings`, when no other process is at it.
        """
        path = Path(path)
        facts = json.loads(json.dumps(facts))
        settings = {"options": options.asdict(), "facts": facts}
        if (path / RUN).exists():
            run = cls(path)
            command = command or run.settings.get("command")
            check_resumed(run.options, options, run.path)
            known = run.settings["facts"]
            names = [name for name in facts | known if facts.get(name) != known.get(name)]
            refuse_differences(run.path, [(name, known.get(name), facts.get(name)) for name in names])
            run.options, run.settings = options, settings | ({"command": command} if command else {})
            return run
        if path.exists() and any(one.name not in (RUN + PART, "lock") for one in path.iterdir()):
            raise TrainingError(f"{path} holds files but no {RUN}; give --out a new or an empty folder.")
        with telling_of_space(path):
            path.mkdir(parents=True, exist_ok=True)
            text = json.dumps(settings | ({"command": command} if command else {}), indent=2)
            write_whole(path / RUN, text.encode())
        return cls(path)

    def keep_settings(self):
        """Writes the options that hold from now on."""
        with telling_of_space(self.path, self.newest()[0]):
            write_whole(self.path / RUN, json.dumps(self.settings, indent=2).encode())

    @contextmanager
    def lock(self):
        """Holds off a second process that would train here; TrainingError at once if there is one."""
        lock = FileLock(self.path / "lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise TrainingError(
                f"Another process is training in {self.path}; wait for it or end it, then run this again."
            ) from None
        try:
            yield
        finally:
            lock.release()

    # ---- saves

    def saves(self):
        """{step: folder} of all whole saves, in order."""
        folders = (self.path / SAVES).glob(f"{STEP}*")
        found = {int(one.name.removeprefix(STEP)): one for one in folders if one.name.removeprefix(STEP).isdecimal()}
        return dict(sorted(found.items()))

    def newest(self):
        """(step, folder) of the newest save, or (0, None)."""
        return list(self.saves().items())[-1] if self.saves() else (0, None)

    @contextmanager
    def saving(self, step, keep):
        """An empty folder for the files of a save; when they are written, it takes its place and old ones go.

        A kill leaves the last save as it was. TrainingError where the disk is full.
        """
        final = self.path / SAVES / f"{STEP}{step:09d}"
        part = final.with_name(final.name + PART)
        with telling_of_space(self.path, self.newest()[0]):
            try:
                self.drop_parts()
                part.mkdir(parents=True)
                yield part
                for file in part.iterdir():
                    sync(file)
                sync(part)
                if final.exists():
                    shutil.rmtree(final)
                os.rename(part, final)
                sync(final.parent)
                self.show(final)
            except BaseException:
                shutil.rmtree(part, ignore_errors=True)
                raise
        self.drop_old(keep)

    def show(self, save):
        """Lets the connector files at the top of the run be those of a save."""
        for name in (CONNECTOR, CONNECTOR_EMA):
            shown = self.path / name
            # Renaming a file onto another name of itself does nothing, and would leave the part behind.
            if (save / name).exists() and not (shown.exists() and shown.samefile(save / name)):
                link = self.path / (name + PART)
                link.unlink(missing_ok=True)
                try:
                    os.link(save / name, link)
                except OSError:  # a file system without links
                    shutil.copyfile(save / name, link)
                os.replace(link, shown)

    def tidy(self, keep):
        """Ends what a kill in mid-save left undone; returns (step, folder) of the newest save, or (0, None)."""
        step, folder = self.newest()
        with telling_of_space(self.path, step):
            self.drop_parts()
            if folder is not None:
                self.show(folder)
        self.drop_old(keep)
        return step, folder

    def drop_old(self, keep):
        for old in list(self.saves().values())[:-keep]:
            shutil.rmtree(old, ignore_errors=True)

    def drop_parts(self):
        for part in (self.path / SAVES).glob(f"*{PART}"):
            shutil.rmtree(part, ignore_errors=True)
        for part in self.path.glob(f"*{PART}"):
            part.unlink()

    # ---- lines

    def add_line(self, name, line):
        """Appends a value as a line of JSON to the file of that name."""
        with telling_of_space(self.path, self.newest()[0]), open(self.path / name, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def lines(self, name):
        """The lines of such a file; a last one that a kill cut is left out."""
        try:
            text = (self.path / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in text.split("\n")[:-1]]

    def cut_lines(self, name, step):
        """Drops the lines of steps after `step`, which a run that goes on takes again."""
        lines = [line for line in self.lines(name) if line["step"] <= step]
        if (self.path / name).exists():
            write_whole(self.path / name, "".join(json.dumps(line) + "\n" for line in lines).encode())


@contextmanager
def telling_of_space(path, step=0):
    """Turns the errors of a disk into a TrainingError that says what to do; `step` is that of the last whole save."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EROFS):
            raise TrainingError(f"{path} can't be written ({reason}); give --out a folder that can.") from None
        kept = f"its save of step {step} is kept" if step else "nothing was saved yet"
        raise TrainingError(
            f"{path} can't be written ({reason}), and {kept}; make room and run the same command again."
        ) from None
