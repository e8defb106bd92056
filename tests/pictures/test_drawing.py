"""Pictures of clusters, on photographs small enough to know every pixel."""

import numpy as np
import pytest

from atc.pictures import colours, drawing, figure, order, regions

GRID = (2, 3)
PHOTO = np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)  # patches of 4 x 4 pixels
SOURCE = np.array([0, 0, 1, 2, -1, 1])  # 0 0 1 / 2 - 1


def patch(picture: np.ndarray, row: int, column: int) -> np.ndarray:
    return picture[4 * row : 4 * row + 4, 4 * column : 4 * column + 4].reshape(-1, 3)


def test_a_cluster_has_the_mean_colour_of_its_pixels_wherever_its_patches_lie():
    source = np.array([0, 1, 0, 1, -1, 0])
    picture = drawing.mean_colours(PHOTO, source, GRID)
    members = np.concatenate([patch(PHOTO, 0, 0), patch(PHOTO, 0, 2), patch(PHOTO, 1, 2)])
    for place in ((0, 0), (0, 2), (1, 2)):
        assert (patch(picture, *place) == members.mean(axis=0).round()).all()


def test_in_detail_only_merged_patches_lose_their_picture():
    picture = drawing.detailed(PHOTO, SOURCE, GRID)
    assert (patch(picture, 1, 0) == patch(PHOTO, 1, 0)).all()
    assert len(np.unique(patch(picture, 0, 0), axis=0)) == 1


@pytest.mark.parametrize("draw", [drawing.mean_colours, drawing.detailed])
def test_pruned_patches_are_a_faint_grey_print(draw):
    dimmed = patch(draw(PHOTO, SOURCE, GRID), 1, 1).astype(int)
    assert (dimmed == dimmed[:, :1]).all()
    assert dimmed.min() >= 171
    assert np.ptp(dimmed) < 0.3 * np.ptp(patch(PHOTO, 1, 1).mean(axis=1))


def test_an_image_pruned_away_altogether_is_dimmed_everywhere():
    nothing = np.full(6, -1)
    for picture in (drawing.mean_colours(PHOTO, nothing, GRID), drawing.detailed(PHOTO, nothing, GRID)):
        assert (picture == drawing.dimmed(PHOTO)).all()


def test_outlines_lie_only_where_one_cluster_ends():
    lines = {tuple(map(tuple, line)) for line in regions.edges(SOURCE, GRID).astype(int).tolist()}
    assert lines == {((2, 0), (2, 2)), ((1, 1), (1, 2)), ((0, 1), (2, 1))}
    assert len(regions.edges(np.zeros(6, dtype=int), GRID)) == 0
    assert len(regions.edges(np.full(6, -1), GRID)) == 0


def test_outlines_in_pixels_have_their_width_and_leave_the_rest_alone():
    picture = drawing.outlined(PHOTO, SOURCE, GRID, width=2)
    changed = (picture != PHOTO).any(axis=2)
    expected = np.zeros((8, 12), dtype=bool)
    expected[:, 7:9] = expected[3:5, 0:9] = expected[3:, 3:5] = True
    assert (picture[expected] == 0).all()
    assert not changed[~expected].any()


def test_a_photograph_is_enlarged_by_whole_pixels():
    picture = drawing.enlarged(PHOTO, GRID, least=30)
    assert picture.shape == (24, 36, 3)
    assert (picture[::3, ::3] == PHOTO).all()


def least_contrast(source: np.ndarray, shade: np.ndarray, grid: tuple[int, int]) -> float:
    """The least distance in OKLab between the colours of two clusters that touch."""
    table, points = colours.palette()
    place = {tuple(colour): point for colour, point in zip(table.tolist(), points, strict=True)}
    apart = [
        np.linalg.norm(place[tuple(shade[token].tolist())] - place[tuple(shade[other].tolist())])
        for token in np.unique(source[source >= 0])
        for other in regions.neighbours(source, grid, int(token))
    ]
    return min(apart, default=1.0)


def test_touching_clusters_are_told_apart_and_growing_ones_keep_their_colour():
    rng = np.random.default_rng(1)
    grid = (14, 14)
    fine = np.unique(rng.integers(0, 98, 196), return_inverse=True)[1]
    coarse = rng.integers(0, 24, fine.max() + 1)[fine]
    coarse = np.unique(coarse, return_inverse=True)[1]
    fine[:7] = coarse[:7] = -1
    shades = colours.distinct([fine, coarse], grid)
    for source, shade in zip([fine, coarse], shades, strict=True):
        assert least_contrast(source, shade, grid) > 0.1
    for whole in range(coarse.max() + 1):
        members = fine[coarse == whole]
        if len(members):
            largest = np.bincount(members[members >= 0]).argmax()
            assert (shades[0][largest] == shades[1][whole]).all()


def test_tokens_drawn_in_the_colour_of_their_leader_are_told_apart_after_every_step():
    rng, grid = np.random.default_rng(2), (7, 7)
    steps, leader = [], np.arange(49)
    while len(steps) < 44:
        one, other = rng.choice(np.unique(leader[leader >= 0]), 2, replace=False)
        other = -1 if len(steps) % 8 == 0 else other
        leader[leader == one] = other
        steps.append((one, other))
    history = order.History(grid, np.array(steps), ())
    own = colours.of_leaders(history.steps, grid)
    table = colours.palette()[0][own]
    for count in range(len(steps) + 1):
        assert least_contrast(order.leaders(history, count), table, grid) > 0.1


def test_a_few_clusters_have_all_different_colours():
    shades = colours.distinct([np.arange(49)], (7, 7))[0]
    assert len(np.unique(shades, axis=0)) == 49


def test_a_row_has_the_input_and_a_panel_per_stage():
    stages = [figure.Snapshot(4, 3, SOURCE), figure.Snapshot(7, 1, np.minimum(SOURCE, 0))]
    rows = [figure.Row("tome", PHOTO, GRID, stages, look) for look in figure.LOOKS]
    assert [panel.caption for panel in figure.panels(rows[0])] == ["6 patches", "3 tokens", "1 token"]
    sheet = figure.figure(rows)
    assert len(sheet.axes) == 9
    assert [ax.get_title() for ax in sheet.axes[:3]] == ["input", "stage 1, block 4", "stage 2, block 7"]
    assert all(len(ax.images) == 1 for ax in sheet.axes)


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_rows_of_unequal_length_are_saved(tmp_path, suffix):
    rows = [figure.Row("none", PHOTO, GRID, []), figure.Row("topk", PHOTO, GRID, [figure.Snapshot(4, 3, SOURCE)])]
    path = tmp_path / f"rows{suffix}"
    figure.save(figure.figure(rows), path)
    assert path.read_bytes()[:5] in (b"\x89PNG\r", b"<?xml")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: drawing.mean_colours(PHOTO, SOURCE[:5], GRID), r"\[5\] does not fit a grid of 2 x 3"),
        (lambda: drawing.mean_colours(PHOTO[:7], SOURCE, GRID), "7 x 12 pixels do not divide into 2 x 3 patches"),
        (lambda: drawing.mean_colours(PHOTO / 255, SOURCE, GRID), r"must be \[H, W, 3\] uint8"),
        (lambda: figure.panels(figure.Row("tome", PHOTO, GRID, [], "meen")), "there are mean, detail, distinct"),
        (lambda: figure.figure([]), "no rows"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(call, said):
    with pytest.raises(ValueError, match=said) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_a_picture_is_there_whole_or_not_at_all(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_text("before")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    sheet = figure.figure([figure.Row("a", PHOTO, GRID, [])])
    with pytest.raises(OSError, match=rf"a\{suffix}"):
        figure.save(sheet, path)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("palette", [0, -1, 257])
def test_a_palette_has_from_1_to_256_colours(tmp_path, palette):
    with pytest.raises(ValueError, match=f"a palette of {palette} colours: a PNG has from 1 to 256"):
        figure.save(figure.figure([figure.Row("a", PHOTO, GRID, [])]), tmp_path / "a.png", palette=palette)
    assert not list(tmp_path.iterdir())


def test_titles_are_text_and_no_formula(tmp_path):
    """A method of the user's own may be called anything."""
    path = tmp_path / "a.svg"
    figure.save(figure.figure([figure.Row("$\\frac$ <b>&", PHOTO, GRID, [])]), path)
    assert ">$\\frac$ &lt;b&gt;&amp;</text>" in path.read_text()
