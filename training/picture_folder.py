"""A folder of pictures, each with its captions in a .txt of the same name: a caption a line."""

from .pictures import EXTENSIONS, Picture, Skipped, divided, with_captions


def read_picture_folder(folder):
    """Pictures of a folder and the folders in it, sorted by name: ([Picture], [Skipped])."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in EXTENSIONS)
    return divided([read_picture(folder, path) for path in paths])


def read_picture(folder, path):
    """The Picture at `path`, or Skipped."""
    picture = Picture(path.relative_to(folder).as_posix(), (), path)
    try:
        captions = path.with_suffix(".txt").read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        captions = []
    except (OSError, UnicodeDecodeError):
        return Skipped(picture.name, "has a .txt that can't be read as UTF-8")
    return with_captions(picture, captions)
