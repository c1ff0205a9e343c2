"""Folders under names that others may read: where a user keeps things is nobody's business, and holds names."""

import os
import re

import folder_paths

SPELLING = re.IGNORECASE if os.path.normcase("A") == "a" else 0


class PublicPaths:
    """Names of the host's folders: "models/ella" for its own, "(extra path 1)" for others, as a yaml file adds them."""

    def __init__(self, folder_names):
        self.names = {}
        extra = 0
        for path in (path for name in folder_names for path in folder_paths.get_folder_paths(name)):
            if path in self.names:
                continue
            inside = self.inside_models(path)
            extra += inside is None
            self.names[path] = f"(extra path {extra})" if inside is None else inside

    @staticmethod
    def inside_models(path):
        """ "models/ella" for a folder below the host's models, else None."""
        models, path = (os.path.normpath(os.path.abspath(one)) for one in (folder_paths.models_dir, path))
        if not os.path.normcase(path).startswith(os.path.normcase(models) + os.sep):
            return None
        return "models/" + os.path.relpath(path, models).replace(os.sep, "/")

    def is_extra(self, path):
        return self.names[path].startswith("(extra")

    def hide(self, text):
        """The text with every folder of the host's and the user's by its public name, links followed or not."""
        names = dict(self.names)
        names |= {folder_paths.models_dir: "models", folder_paths.base_path: "(ComfyUI)"}
        names |= {os.path.realpath(path): name for path, name in names.items()}
        names.setdefault(os.path.expanduser("~"), "~")
        # The longest first, so that no folder is replaced inside the path of another one. Python's errors on files
        # write backslashes twice.
        for path in sorted((path for path in names if len(path) > 1), key=len, reverse=True):
            for written in {path.replace("\\", "\\\\"), path}:
                pattern = re.compile(r"(?<![\w.~)-])" + re.escape(written), SPELLING)
                text = pattern.sub(lambda _, name=names[path]: name, text)
        return text
