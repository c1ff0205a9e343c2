"""Pictures and captions as people have them: what is found, what is skipped and by which name."""

import json

import numpy as np
import pytest
import webdataset
from PIL import Image
from tiny_data import caption, draw, make_folder

from training.errors import TrainingError
from training.pictures import open_pictures, skipped_sentence


def names(pictures):
    return [one.name for one in pictures]


def same_pixels(picture, image):
    return np.array_equal(np.array(picture.read()), np.array(image))


def test_a_folder(tmp_path):
    make_folder(tmp_path / "data", 3, captions=2)
    make_folder(tmp_path / "data/more \u2603", 1, size=(80, 40))
    (tmp_path / "data/notes.txt").write_text("no picture has this name")
    pictures, skipped = open_pictures(tmp_path / "data")
    assert names(pictures) == ["00.png", "01.png", "02.png", "more \u2603/00.png"] and skipped == []
    assert pictures[1].captions == (caption(1, 0), caption(1, 1))
    assert pictures[3].size == (80, 40) and same_pixels(pictures[2], draw((64, 64), 2))


def test_what_is_skipped_is_named_and_counted(tmp_path):
    folder = make_folder(tmp_path, 8)
    (folder / "01.txt").unlink()
    (folder / "02.txt").write_text(" \n\n")
    (folder / "03.txt").write_bytes(b"\xff\xfe\xff caf\xe9")
    (folder / "04.png").write_bytes(b"no picture")
    (folder / "05.png").write_bytes(b"")
    pictures, skipped = open_pictures(folder)
    assert names(pictures) == ["00.png", "06.png", "07.png"]
    said = skipped_sentence(skipped)
    assert "2 pictures have no caption: 01.png, 02.png" in said
    assert "2 pictures are corrupt: 04.png, 05.png" in said
    assert "1 picture has a .txt that can't be read as UTF-8: 03.png" in said


def test_a_picture_that_breaks_off_is_found_when_it_is_read(tmp_path):
    folder = make_folder(tmp_path, 2)
    whole = (folder / "00.png").read_bytes()
    (folder / "00.png").write_bytes(whole[: len(whole) // 2])
    (picture, sound), _ = open_pictures(folder)
    with pytest.raises(TrainingError, match="00.png is corrupt"):
        picture.read()
    sound.read()


def test_a_turned_photograph_and_a_transparent_drawing(tmp_path):
    folder = make_folder(tmp_path, 2)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    draw((80, 40), 0).save(folder / "00.png", exif=exif)
    drawing = Image.new("RGBA", (10, 10), (255, 0, 0, 0))
    drawing.save(folder / "01.png")
    (turned, clear), _ = open_pictures(folder)
    assert turned.size == (40, 80) == turned.read().size
    assert same_pixels(turned, draw((80, 40), 0).transpose(Image.Transpose.ROTATE_270))
    assert clear.read().getpixel((3, 3)) == (255, 255, 255)


def test_caption_lines(tmp_path):
    make_folder(tmp_path / "pictures", 3)
    lines = [
        {"picture": "pictures/02.png", "captions": ["one", "two", ""]},
        {"picture": "pictures/00.png", "caption": "a caf\u00e9"},
        {"picture": "pictures/01.png"},
        {"picture": "pictures/99.png", "caption": "nothing"},
    ]
    path = tmp_path / "captions.jsonl"
    path.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines) + "\n", encoding="utf-8")
    pictures, skipped = open_pictures(path)
    assert [one.captions for one in pictures] == [("one", "two"), ("a caf\u00e9",)]
    assert same_pixels(pictures[0], draw((64, 64), 2))
    assert [(one.name, one.reason) for one in skipped] == [
        ("pictures/01.png", "has no caption"),
        ("pictures/99.png", "is missing"),
    ]


@pytest.mark.parametrize("line", ["nonsense", "[1]", '{"caption": "a"}', '{"picture": 5}'])
def test_a_line_that_is_wrong_is_named(tmp_path, line):
    path = tmp_path / "captions.jsonl"
    path.write_text('{"picture": "a.png", "caption": "a"}\n' + line)
    with pytest.raises(TrainingError, match="line 2 of captions.jsonl"):
        open_pictures(path)


def write_tar(path, samples):
    with webdataset.TarWriter(str(path)) as writer:
        for sample in samples:
            writer.write(sample)


def test_tars_that_webdataset_wrote(tmp_path):
    first = [{"__key__": f"a/{n}", "png": draw((64, 64), n), "txt": f"one {n}\ntwo {n}"} for n in range(3)]
    second = [
        {"__key__": "x", "jpg": draw((80, 40), 4), "json": {"captions": ["three", "four"]}},
        {"__key__": "lost", "txt": "no picture"},
        {"__key__": "z", "png": draw((64, 64), 5), "json": {"caption": "five", "url": "x"}},
        {"__key__": "mute", "png": draw((64, 64), 5)},
        {"__key__": "odd", "png": b"no picture", "txt": "six"},
    ]
    write_tar(tmp_path / "data-0.tar", first)
    write_tar(tmp_path / "data-1.tar", second)
    pictures, skipped = open_pictures(tmp_path)
    assert names(pictures)[:3] == [f"data-0.tar:a/{n}.png" for n in range(3)]
    assert [one.captions for one in pictures[2:]] == [("one 2", "two 2"), ("three", "four"), ("five",)]
    assert [one.size for one in pictures[2:]] == [(64, 64), (80, 40), (64, 64)]
    for number in (2, 0, 1):  # in any order
        assert same_pixels(pictures[number], draw((64, 64), number))
    assert [(one.name, one.reason) for one in skipped] == [
        ("data-1.tar:lost", "is without a picture file"),
        ("data-1.tar:mute.png", "has no caption"),
        ("data-1.tar:odd.png", "is corrupt"),
    ]
    by_pattern, _ = open_pictures(str(tmp_path / "data-{0..1}.tar"))
    assert by_pattern == pictures and open_pictures(tmp_path / "data-0.tar")[0] == pictures[:3]


def test_a_tar_that_breaks_off_is_named(tmp_path):
    write_tar(tmp_path / "data.tar", [{"__key__": "a", "png": draw((64, 64), 1), "txt": "one"}])
    (tmp_path / "data.tar").write_bytes(b"no tar" * 200)
    with pytest.raises(TrainingError, match="data.tar can't be read"):
        open_pictures(tmp_path)
    with pytest.raises(TrainingError, match="gone.tar can't be read"):
        open_pictures(tmp_path / "gone.tar")


def test_nothing_to_train_on(tmp_path):
    with pytest.raises(TrainingError, match="has no picture with a caption"):
        open_pictures(tmp_path)
    draw((64, 64), 0).save(tmp_path / "a.png")
    with pytest.raises(TrainingError, match="1 picture has no caption: a.png"):
        open_pictures(tmp_path)
    with pytest.raises(TrainingError, match="is no data"):
        open_pictures(tmp_path / "nowhere")
