"""What is a class and what is a picture: every real folder once, and nothing that other programs leave behind."""

import os
import socket
from pathlib import Path

import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

from datamodules import check
from datamodules.io.files import join
from datamodules.io.layout import LayoutError, RootError
from datamodules.io.pictures import read_rgb
from tests.datamodules.on_disk import load, save, write_class_folders, write_flat_imagenet

CLASSES = ("ant", "bee")
JUNK = (
    ".ipynb_checkpoints",
    "__MACOSX",
    "@eaDir",
    "#recycle",
    "$RECYCLE.BIN",
    ".Trash-1000",
    "__pycache__",
    "lost+found",
)


def split(root: Path, train: int = 10, val: int = 3) -> None:
    write_class_folders(root / "train", CLASSES, each=train)
    write_class_folders(root / "val", CLASSES, each=val)


def names(root: Path, **settings: object) -> dict[str, list[str]]:
    """Of each part the pictures' paths below the root."""
    released = load("folder", root, **settings).released
    return {part: [os.path.relpath(path, root) for path in entries] for part, (entries, _) in released.items()}


def test_order_and_count_are_those_of_image_folder(tmp_path: Path) -> None:
    folder = tmp_path / "train"
    for name in ("b/2.png", "b/10.jpg", "b/a/1.JPG", "b/a-b/0.jpeg", "B/x.webp", "a b/1.bmp", "ä/1.tif", "b/é.ppm"):
        save(folder / name.replace(".JPG", ".jpg"), 1)
    (folder / "b/a/1.jpg").rename(folder / "b/a/1.JPG")
    write_class_folders(tmp_path / "val", ("b", "B", "a b", "ä"), each=1)
    theirs = ImageFolder(str(folder))
    data = load("folder", tmp_path)
    entries, targets = data.released["train"]
    assert data.classes == theirs.classes
    assert list(zip(entries, targets.tolist(), strict=True)) == theirs.samples


def test_what_other_programs_leave_is_neither_class_nor_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    split(tmp_path)
    before = names(tmp_path)
    for junk in JUNK:
        for place in (tmp_path, tmp_path / "train", tmp_path / "val", tmp_path / "train" / "ant"):
            save(place / junk / "0.jpg", 0)
    for junk in ("._0.jpg", ".DS_Store.jpg", "@thumb.jpg", "#0.jpg", "$0.png", "__0.jpg"):
        (tmp_path / "val" / "ant" / junk).write_bytes(b"not a picture")
    (tmp_path / "val" / "bee" / "notes.txt").write_text("no picture")
    (tmp_path / "val" / "bee" / "Thumbs.db").write_bytes(b"")
    save(tmp_path / "val" / "loose.jpg", 0)
    assert names(tmp_path) == before
    assert check.main(["datamodule=folder", f"datamodule.root={tmp_path}", "--decode"]) == 0
    said = capsys.readouterr().out
    assert f"passed over: {3 * len(JUNK) + 6} names of other programs (beginning with . @ # $ or __)" in said
    assert "passed over: 1 files of other types (.txt)" in said
    assert "passed over: 1 pictures in no class folder" in said
    assert said.endswith("complete\n")
    assert not any(name in said for name in JUNK)


def test_classes_that_are_not_split_beside_junk(tmp_path: Path) -> None:
    write_class_folders(tmp_path, CLASSES, each=20)
    for junk in JUNK:
        save(tmp_path / junk / "0.jpg", 0)
    assert load("folder", tmp_path).num_classes == 2


def test_what_is_no_regular_file_is_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    split(tmp_path)
    before = names(tmp_path)
    folder = tmp_path / "val" / "ant"
    os.mkfifo(folder / "f.jpg")
    (folder / "zero.png").symlink_to("/dev/zero")
    (folder / "round.jpg").symlink_to("round.jpg")
    monkeypatch.chdir(folder)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("s.jpg")
        data = load("folder", tmp_path)
        assert names(tmp_path) == before
        _ = data.released
    assert data.listing.left_out == {"FIFOs, sockets or devices": 3, "links that lead nowhere": 1}
    for name, kind in (("f.jpg", "a FIFO"), ("zero.png", "a device"), ("s.jpg", "a socket"), (".", "a folder")):
        with pytest.raises(ValueError, match=f"is not an image that can be read: {kind}, not a regular file"):
            read_rgb(folder / name)


def test_pictures_of_every_type_that_pillow_reads(tmp_path: Path) -> None:
    split(tmp_path)
    for suffix, format in (
        (".gif", "GIF"),
        (".jfif", "JPEG"),
        (".TIFF", "TIFF"),
        (".jp2", "JPEG2000"),
        (".tga", "TGA"),
    ):
        Image.new("RGB", (9, 9)).save(tmp_path / "val" / "ant" / f"x{suffix}", format)
    (tmp_path / "val" / "ant" / "x.heic").write_bytes(b"")
    data = load("folder", tmp_path)
    assert len(data.released["test"][0]) == 6 + 5
    assert data.listing.left_out == {"files of other types (.heic)": 1}


@pytest.mark.parametrize("where", ["train", "train/ant", "val/bee", "train/ant/deep"])
@pytest.mark.parametrize("target", [".", "train", "val", "train/ant", "/", "..", "train/bee"])
def test_no_link_counts_a_picture_twice_or_mixes_parts(tmp_path: Path, where: str, target: str) -> None:
    root = tmp_path / "data"
    split(root, train=4, val=2)
    save(root / "train/ant/deep/x.jpg", 1)
    before = names(root)
    (root / where / "loop").symlink_to(target if target == "/" else (root / target).resolve())
    assert names(root) == before
    data = load("folder", root)
    _ = data.released
    assert data.listing.left_out == {"links to folders that are listed already": 1}


def test_many_links_that_lead_in_circles(tmp_path: Path) -> None:
    """With every path listed there would be thousands of millions."""
    split(tmp_path, train=1, val=1)
    folders = [tmp_path / "train" / "ant" / f"{i}" for i in range(12)]
    for folder in folders:
        save(folder / "0.jpg", 1)
    for folder in folders:
        for other in folders:
            (folder / f"to{other.name}").symlink_to(other)
    assert len(names(tmp_path)["train"]) == 12 + 2


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    """As linked copies of ImageNet are: parts, classes, folders in classes, and single files."""
    stock, root = tmp_path / "stock", tmp_path / "data"
    split(stock, train=4, val=2)
    save(stock / "more" / "0.jpg", 1)
    save(stock / "one.jpg", 1)
    root.mkdir()
    (root / "val").symlink_to(stock / "val")
    (root / "train" / "bee").mkdir(parents=True)
    (root / "train" / "ant").symlink_to(stock / "train" / "ant")
    (root / "train" / "bee" / "more").symlink_to(stock / "more")
    (root / "train" / "bee" / "one.jpg").symlink_to(stock / "one.jpg")
    found = names(root)
    assert found["train"] == [
        *(f"train/ant/ant_{i}.jpg" for i in range(4)),
        "train/bee/one.jpg",
        "train/bee/more/0.jpg",
    ]
    assert len(found["test"]) == 4
    (root / "train" / "bee" / "again").symlink_to(stock / "more")
    assert len(names(root)["train"]) == 6
    with pytest.raises(ValueError, match=r"val is a link, which datamodule.follow_links=false refuses"):
        names(root, follow_links=False)
    (root / "val").unlink()
    write_class_folders(root / "val", CLASSES, each=2)
    with pytest.raises(ValueError, match=r"is a link, which datamodule.follow_links=false refuses"):
        names(root, follow_links=False)
    assert names(stock, follow_links=False) == names(stock)


def test_a_part_that_is_a_link_to_another(tmp_path: Path) -> None:
    write_class_folders(tmp_path / "train", CLASSES)
    (tmp_path / "val").symlink_to("train")
    with pytest.raises(ValueError, match=r"val and .*train are the same folder: its pictures cannot be in both parts"):
        names(tmp_path)


def test_a_picture_that_is_a_dead_link_is_missed(tmp_path: Path) -> None:
    split(tmp_path)
    (tmp_path / "val" / "ant" / "z.jpg").symlink_to(tmp_path / "unmounted" / "9.jpg")
    text, good = check.report(load("folder", tmp_path))
    assert not good
    assert "test: 1 of 7 pictures missing" in text


@pytest.mark.parametrize("empty", ["nothing", "classes", "one"])
def test_an_evaluation_can_do_without_pictures_to_train_on(tmp_path: Path, empty: str) -> None:
    split(tmp_path)
    folder = tmp_path / "train"
    if empty == "one":
        for path in (folder / "ant").iterdir():
            path.unlink()
    else:
        folder.rename(tmp_path / "elsewhere")
        (folder / ("ant" if empty == "classes" else "")).mkdir(parents=True)
    data = load("folder", tmp_path)
    assert data.num_classes == 2
    assert sum(len(targets) for _, targets in data.test_dataloader()) == 6
    for ask in (data.check_training, data.train_dataloader, data.val_dataloader):
        with pytest.raises(LayoutError, match=r"missing pictures: .* class folder.* in .*train"):
            ask()
    text, good = check.report(load("folder", tmp_path))
    assert not good
    assert "train              0           -   missing" in text


def test_one_class_is_none(tmp_path: Path) -> None:
    write_class_folders(tmp_path, ("ant",), each=20)
    with pytest.raises(RootError, match=f"a second class: the only class folder in {tmp_path} is ant"):
        _ = load("folder", tmp_path).num_classes


def test_names_that_are_no_utf8_or_act_on_a_terminal(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    split(tmp_path)
    strange = os.fsdecode(b"\xff\x1b[31m\n.jpg")
    (tmp_path / "val" / "ant" / strange).write_bytes(b"not a picture")
    data = load("folder", tmp_path, on_corrupt="skip")
    assert sum(len(targets) for _, targets in data.test_dataloader()) == 6
    assert [os.path.basename(name) for name in data.corrupt] == [strange]
    data.teardown("test")
    with pytest.raises(ValueError, match=r"cannot read \S+\\xff\\x1b\[31m\\n\.jpg \(not a picture\)") as error:
        list(load("folder", tmp_path).test_dataloader())
    text, _ = check.report(load("folder", tmp_path), decode=True)
    for said in (str(error.value), *text.splitlines(), *(record.getMessage() for record in caplog.records)):
        assert said.isprintable()
    os.rename(tmp_path / "val" / "ant", tmp_path / "val" / strange)
    with pytest.raises(ValueError, match=r"differ in 2 class folders") as error:
        _ = load("folder", tmp_path).num_classes
    assert str(error.value).isprintable()


def test_flat_folders_of_imagenet(tmp_path: Path) -> None:
    write_flat_imagenet(tmp_path, ["n01440764", "n15075141"])
    before = load("imagenet", tmp_path).released["test"][0]
    save(tmp_path / "val" / "@eaDir" / "0.jpg", 0)
    (tmp_path / "val" / "._ILSVRC2012_val_00000001.JPEG").write_bytes(b"")
    os.mkfifo(tmp_path / "val" / "f.JPEG")
    assert load("imagenet", tmp_path).released["test"][0] == before


def test_snapshots_of_the_hub_are_made_of_links(tmp_path: Path) -> None:
    repository = tmp_path / "datasets--me--pets"
    root = repository / "snapshots" / "0123"
    for part in ("train", "val"):
        write_class_folders(root / part, ["cat", "dog"])
    for number, path in enumerate(sorted(root.rglob("*.jpg"))):
        (repository / "blobs").mkdir(exist_ok=True)
        path.rename(repository / "blobs" / str(number))
        path.symlink_to(os.path.relpath(repository / "blobs" / str(number), path.parent))
    assert len(load("folder", root, follow_links=False).released["test"][0]) == 8
    path = root / "train" / "cat" / "cat_0.jpg"
    assert join(root, "train/cat/cat_0.jpg", "a list", follow_links=False) == str(path)
    path.unlink()
    (tmp_path / "blobs").mkdir()
    (repository / "blobs" / "0").rename(tmp_path / "blobs" / "0")
    path.symlink_to(tmp_path / "blobs" / "0")  # of no repository, or of another
    with pytest.raises(ValueError, match=r"cat_0.jpg is a link, which datamodule.follow_links=false refuses"):
        _ = load("folder", root, follow_links=False).released
    with pytest.raises(ValueError, match=r"is a link that leaves"):
        join(root, "train/cat/cat_0.jpg", "a list", follow_links=False)
