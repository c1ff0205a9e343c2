"""Model folders: listed once for each change, whatever links, pipes and folders lie in them; names are found."""

import os
import shutil
import time

import folder_paths
import pytest

FOLDERS = ("ella", "ella_encoder", "text_encoders")


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Empty model folders of ELLA's, {folder name: path}."""
    paths = {name: tmp_path / name for name in FOLDERS}
    for name, path in paths.items():
        path.mkdir()
        monkeypatch.setitem(folder_paths.folder_names_and_paths, name, ([str(path)], {".safetensors", ".sft"}))
    return paths


@pytest.fixture
def model_folders(host):
    return host.core("host.model_folders")


@pytest.fixture
def lists(monkeypatch):
    """How often a folder was listed, in a list that grows."""
    seen = []
    scandir, listdir = os.scandir, os.listdir
    monkeypatch.setattr(os, "scandir", lambda path=".": (seen.append(str(path)), scandir(path))[1])
    monkeypatch.setattr(os, "listdir", lambda path=".": (seen.append(str(path)), listdir(path))[1])
    return seen


def text_encoder(folder, name="config.json"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text('{"model_type": "t5"}')
    return folder


def age(root, seconds=10):
    """Makes all folders look as if their last change was a while ago."""
    for folder, _, _ in os.walk(root):
        os.utime(folder, (time.time() - seconds,) * 2)


def options(host):
    info = host.object_info("LoadELLA", "LoadELLATextEncoder")
    return [next(iter(node["input"]["required"].values())) for node in info.values()]


def test_a_folder_is_listed_once_for_each_change(host, folders, model_folders, lists, tmp_path):
    for number in range(60):
        text_encoder(folders["text_encoders"] / f"group {number % 6}" / f"model {number}")
        (folders["ella"] / f"{number}").mkdir()
    age(tmp_path)
    lists.clear()
    assert len(model_folders.encoder_paths()) == 60 and model_folders.connector_names() == []
    assert len([path for path in lists if str(tmp_path) in path]) == 3 + 6 + 60 + 60
    lists.clear()
    for _ in range(3):  # a queue asks three times, each /object_info once
        options(host)
        model_folders.encoder_paths(), model_folders.connector_names()
    assert [path for path in lists if str(tmp_path) in path] == []
    text_encoder(folders["text_encoders"] / "group 2" / "a new one")
    assert "group 2/a new one" in model_folders.encoder_paths()
    assert {path for path in lists if str(tmp_path) in path} == {
        str(folders["text_encoders"] / "group 2"),
        str(folders["text_encoders"] / "group 2" / "a new one"),
    }


def test_a_change_right_after_a_list_is_seen(folders, model_folders):
    """Within one tick of the file system's clock, too, where the folder's time stays the same."""
    now = time.time()
    for number in range(30):
        path = folders["ella"] / f"{number}.safetensors"
        path.write_bytes(b"")
        os.utime(folders["ella"], (now, now))
        assert path.name in model_folders.connector_names()


def test_a_chosen_name_is_found_without_a_list_of_all(folders, model_folders, lists, tmp_path):
    (folders["text_encoders"] / "sub").mkdir()
    (folders["text_encoders"] / "sub/one.safetensors").write_bytes(b"")
    (folders["ella"] / "c.safetensors").write_bytes(b"")
    for number in range(50):
        (folders["text_encoders"] / f"{number}").mkdir()
    model_folders.encoder_path("sub/one.safetensors"), model_folders.connector_path("c.safetensors")
    looked_into = {path for path in lists if str(tmp_path) in path}
    assert looked_into <= {str(folders["ella_encoder"] / "sub")}  # which might hold files with the name as their prefix


def test_no_link_is_followed_twice(folders, model_folders, tmp_path):
    real = text_encoder(folders["text_encoders"] / "real" / "t5")
    outside = text_encoder(tmp_path / "outside" / "flan")
    for name in ("parent", "other"):
        (real / name).symlink_to(folders["text_encoders"], target_is_directory=True)
        (folders["text_encoders"] / f"a {name}").symlink_to(folders["text_encoders"], target_is_directory=True)
    for name in ("first", "second"):
        (folders["text_encoders"] / name).symlink_to(outside.parent, target_is_directory=True)
    (outside / "back").symlink_to(outside.parent, target_is_directory=True)
    assert sorted(model_folders.encoder_paths()) == ["first/flan", "real/t5"]
    assert model_folders.encoder_path("second/flan") == str(folders["text_encoders"] / "second/flan")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="NO FIFO: this system has no named pipes.")
def test_pipes_and_folders_are_no_files(host, folders, model_folders):
    for name in ("pipe", "folder"):
        (folders["ella_encoder"] / name).mkdir()
    os.mkfifo(folders["ella_encoder"] / "pipe/config.json")
    (folders["ella_encoder"] / "folder/config.json").mkdir()
    for name in ("ella", "text_encoders"):
        os.mkfifo(folders[name] / "pipe.safetensors")
        (folders[name] / "folder.safetensors").mkdir()
    assert model_folders.encoder_paths() == {} and model_folders.connector_names() == []
    for find in (model_folders.encoder_path, model_folders.connector_path):
        for name in ("pipe", "folder", "pipe.safetensors", "folder.safetensors"):
            with pytest.raises(ValueError, match="was not found"):
                find(name)


@pytest.mark.parametrize("ending", ["", os.sep])
def test_a_config_in_the_model_folder_itself_has_a_name(folders, model_folders, monkeypatch, ending):
    root = text_encoder(folders["ella_encoder"])
    roots = ([str(root) + ending], {".safetensors"})
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "ella_encoder", roots)
    assert model_folders.encoder_paths() == {"ella_encoder": str(root)}
    assert model_folders.encoder_path("ella_encoder") == str(root)


def test_the_other_system_s_separators(host, folders, model_folders, model_files):
    source = model_files / "ella_encoder/tiny-t5"
    shutil.copytree(source, folders["ella_encoder"] / "sub/tiny-t5")
    (folders["ella"] / "sub").mkdir()
    shutil.copy(model_files / "ella/tiny.safetensors", folders["ella"] / "sub/tiny.safetensors")
    for name in ("sub\\tiny.safetensors", "sub/tiny.safetensors"):
        assert host.node_classes["LoadELLA"].validate_inputs(ella_name=name) is True
        assert host.run("LoadELLA", ella_name=name)
    for name in ("sub\\tiny-t5", "sub/tiny-t5", "sub\\tiny-t5\\model.safetensors"):
        assert host.node_classes["LoadELLATextEncoder"].validate_inputs(text_encoder_name=name) is True
    assert host.run("LoadELLATextEncoder", text_encoder_name="sub\\tiny-t5")


def test_names_do_not_lead_out_of_the_folders(folders, model_folders, tmp_path):
    text_encoder(tmp_path / "secret")
    (tmp_path / "secret.safetensors").write_bytes(b"")
    for name in ("../secret", "..\\secret", str(tmp_path / "secret")):
        with pytest.raises(ValueError, match="was not found"):
            model_folders.encoder_path(name)
    for name in ("../secret.safetensors", "..\\secret.safetensors", str(tmp_path / "secret.safetensors")):
        with pytest.raises(ValueError, match="was not found"):
            model_folders.connector_path(name)


def test_each_listed_name_is_found(folders, model_folders):
    text_encoder(folders["ella_encoder"] / "plain")
    text_encoder(folders["ella_encoder"] / "browser", "flan_config.json")
    text_encoder(folders["text_encoders"], "other_config.json")
    (folders["text_encoders"] / "file.sft").write_bytes(b"")
    found = model_folders.encoder_paths()
    assert set(found) == {"plain", "browser/flan", "other", "file.sft"}
    assert {name: model_folders.encoder_path(name) for name in found} == found
