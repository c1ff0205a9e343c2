"""WebDataset tars: files of one name but their extension are a sample, a picture with a .txt or .json.

The names are taken apart by the webdataset library. It reads tars from their start to their end alone, so where each
file begins is asked of Python's tarfile: pictures are then read in any order.
"""

import json
import tarfile
from pathlib import Path

from ella_core.errors import file_name, of_error

from .caption_lines import captions_of
from .errors import TrainingError
from .pictures import EXTENSIONS, Picture, Skipped, divided, header_size, with_captions


def find_tars(data):
    """Paths of the tars that `data` means, sorted: one, those of a folder, or those of a pattern with braces."""
    if Path(data).is_dir():
        return sorted(Path(data).glob("*.tar"))
    if not data.lower().endswith(".tar"):
        return []
    from webdataset.shardlists import expand_urls  # slow to import

    return [Path(one) for one in expand_urls(data)]


def read_picture_tars(paths):
    """The pictures of all tars in the order that they stand in: ([Picture], [Skipped])."""
    return divided([one for path in paths for one in read_tar(path)])


def read_tar(path):
    """The samples of one tar, each a Picture or Skipped. Raises TrainingError for a tar that is missing or broken."""
    from webdataset.tariterators import base_plus_ext

    samples = {}
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                base, extension = base_plus_ext(member.name) if member.isfile() else (None, None)
                if base:
                    extension = f".{extension.lower()}"
                    samples.setdefault(base, {})[extension] = read_member(tar, member, extension)
    except (OSError, tarfile.TarError) as error:
        raise TrainingError(
            f"{file_name(path)} can't be read as an uncompressed tar ({of_error(error)}); make or copy it again."
        ) from error
    return [read_sample(path, base, files) for base, files in samples.items()]


def read_member(tar, member, extension):
    """Of a picture the place in its tar and its size, of a text the bytes, of anything else None."""
    if extension in EXTENSIONS:
        return member.offset_data, member.size, header_size(tar.extractfile(member))
    return tar.extractfile(member).read() if extension in (".txt", ".json") else None


def read_sample(path, base, files):
    """The Picture of one sample, or Skipped."""
    kind = next((extension for extension in EXTENSIONS if extension in files), None)
    if kind is None:
        return Skipped(f"{path.name}:{base}", "is without a picture file")
    offset, length, size = files[kind]
    picture = Picture(f"{path.name}:{base}{kind}", (), path, offset, length, size)
    if size is None:
        return Skipped(picture.name, "is corrupt")
    try:
        if ".txt" in files:
            captions = files[".txt"].decode("utf-8-sig").splitlines()
        else:
            captions = captions_of(json.loads(files[".json"])) if ".json" in files else []
    except (ValueError, AttributeError):
        return Skipped(picture.name, "has captions that can't be read")
    return with_captions(picture, captions)
