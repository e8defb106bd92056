"""The GIF: so many frames, in step with each other, and the last one is the end of the merging."""

import numpy as np
import pytest
from PIL import Image

from atc.pictures import animation, drawing, order

PHOTO = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
MERGING = order.History(
    (4, 4), np.array([[0, 1], [2, 3], [1, 3], [4, 5]]), (order.Mark(4, 14, 2), order.Mark(7, 12, 4))
)
PRUNING = order.History((4, 4), np.array([[0, -1], [9, -1]]), (order.Mark(4, 15, 1), order.Mark(7, 14, 2)))


def test_every_stage_has_its_frames_whatever_the_method():
    sheets = animation.frames(
        [animation.Part("tome", PHOTO, MERGING), animation.Part("topk", PHOTO, PRUNING)], per_stage=3, side=64
    )
    assert len(sheets) == 7
    assert {sheet.size for sheet in sheets} == {(64 + 12 + 64, 64 + 44)}


def test_the_last_frame_is_the_last_stage():
    last = np.asarray(animation.frames([animation.Part("tome", PHOTO, MERGING)], per_stage=2, side=32)[-1])[:32, :32]
    source = order.replay(MERGING, 4)
    assert (last == drawing.outlined(drawing.detailed(PHOTO, source, (4, 4)), source, (4, 4))).all()


def test_the_file_plays_what_was_drawn(tmp_path):
    sheets = animation.frames([animation.Part("tome", PHOTO, MERGING)], per_stage=2, side=32)
    path = tmp_path / "merging.gif"
    animation.save(sheets, path, milliseconds=50, pause=10)
    with Image.open(path) as file:
        assert file.n_frames == len(sheets) == 5
        assert file.info["loop"] == 0
        durations = []
        for number, sheet in enumerate(sheets):
            file.seek(number)
            durations.append(file.info["duration"])
            apart = np.abs(np.asarray(file.convert("RGB")).astype(int) - np.asarray(sheet))
            assert apart.mean() < 12, "255 colours for 1,024 random ones"
        assert durations == [500, 50, 50, 50, 500]


def test_no_frames_are_refused():
    with pytest.raises(ValueError, match="per_stage=0"):
        animation.frames([animation.Part("tome", PHOTO, MERGING)], per_stage=0)


@pytest.mark.parametrize("times", [(0, 25), (9, 25), (-80, 25), (80, 0), (30_000, 25)])
def test_times_that_a_gif_cannot_hold_are_refused(tmp_path, times):
    sheets = animation.frames([animation.Part("tome", PHOTO, MERGING)], per_stage=1, side=32)
    with pytest.raises(ValueError, match="a GIF has from 10 to 655,350 ms"):
        animation.save(sheets, tmp_path / "a.gif", *times)
    assert not list(tmp_path.iterdir())


def test_an_animation_is_there_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a.gif"
    path.write_text("before")
    sheets = animation.frames([animation.Part("tome", PHOTO, MERGING)], per_stage=1, side=32)

    def cut(self, file, *_, **__):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", cut)
    with pytest.raises(OSError, match=r"a\.gif"):
        animation.save(sheets, path)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
