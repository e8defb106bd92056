"""ToMe with destinations on a grid: against loops, and against the authors' package where it is installed."""

import importlib.util

import pytest
import timm
import torch

import atc
from atc.core import Stage, TokenView
from reducers.tome_2d import ToMe2D


def view(rows: int, columns: int, batch: int = 2, seed: int = 0) -> TokenView:
    n, g = rows * columns, torch.Generator().manual_seed(seed)
    x = torch.randn(batch, n, 6, generator=g).double()
    keys = torch.randn(batch, n, 5, generator=g).double()
    return TokenView(x, keys, x.new_ones(batch, n), torch.arange(n).expand(batch, -1), (rows, columns), prefix=0)


def reference(keys: torch.Tensor, grid, keep: int, sx: int, sy: int, place=None) -> set[frozenset[int]]:
    """The groups of one image, by the definition in loops; place [rows, columns] numbers the token of each cell."""
    rows, columns = grid
    destinations = []
    for i in range(rows // sy):
        for j in range(columns // sx):
            k = 0 if place is None else int(place[i][j])
            destinations.append((i * sy + k // sx) * columns + j * sx + k % sx)
    unit = keys / keys.norm(dim=-1, keepdim=True)
    pairs = []
    for token in range(len(keys)):
        if token not in destinations:
            best = max(destinations, key=lambda d: float(unit[token] @ unit[d]))
            pairs.append((float(unit[token] @ unit[best]), token, best))
    groups = {token: {token} for token in range(len(keys))}
    for _, token, best in sorted(pairs, reverse=True)[: len(keys) - keep]:
        groups[best].add(token)
        del groups[token]
    return {frozenset(group) for group in groups.values()}


def groups(labels: torch.Tensor) -> set[frozenset[int]]:
    return {frozenset((labels == k).nonzero().flatten().tolist()) for k in labels.unique()}


@pytest.mark.parametrize(
    ("grid", "sx", "sy", "keep"),
    [((4, 6), 2, 2, 23), ((5, 7), 2, 2, 6), ((7, 3), 2, 2, 11), ((6, 5), 3, 2, 5), ((5, 9), 1, 3, 20)],
)
@pytest.mark.parametrize("seed", [None, 3])
def test_against_loops(grid, sx, sy, keep, seed):
    v = view(*grid)
    generator = place = None
    if seed is not None:
        generator = torch.Generator().manual_seed(seed)
        place = torch.randint(
            sy * sx, (grid[0] // sy, grid[1] // sx, 1), generator=torch.Generator().manual_seed(seed)
        )[..., 0].tolist()
    before = torch.random.get_rng_state()
    plan = ToMe2D(Stage(1, 6, keep), sx=sx, sy=sy, generator=generator)(v, keep)
    assert torch.equal(torch.random.get_rng_state(), before)
    plan.check_contents()
    for b in range(2):
        assert groups(plan.labels[b]) == reference(v.keys[b], grid, keep, sx, sy, place)


@pytest.mark.parametrize(("batch", "drawn"), [(1, False), (2, True), (3, False)])
def test_released_code_draws_nothing_for_odd_batches(batch, drawn):
    v = view(6, 6, batch)
    for as_released in (False, True):
        generator = torch.Generator().manual_seed(1)
        state = generator.get_state()
        ToMe2D(Stage(1, 6, 20), generator=generator, as_released=as_released)(v, 20)
        assert torch.equal(state, generator.get_state()) == (as_released and not drawn)


def test_output_order_is_by_position():
    plan = ToMe2D(Stage(1, 6, 15))(view(4, 6), 15)
    assert plan.labels[:, [0, 2, 4, 12, 14, 16]].tolist() == [list(range(9, 15))] * 2
    for row in plan.labels:
        unmerged = row[row < 9]
        assert unmerged.tolist() == list(range(9))


@pytest.mark.parametrize(("grid", "keep", "said"), [((5, 5), 3, "4 cells of 2 x 2"), ((1, 9), 5, "0 cells of 2 x 2")])
def test_what_cannot_be_reached_is_refused(grid, keep, said):
    with pytest.raises(ValueError, match=said):
        ToMe2D(Stage(1, 6, keep))(view(*grid), keep)


def test_in_a_vit_while_every_token_is_one_patch():
    vit = timm.create_model("vit_tiny_patch16_224", img_size=96, depth=3, num_classes=3).eval()
    with torch.no_grad():
        model = atc.wrap(vit, "tome_2d", keep_rate=0.5, blocks=(2,))
        model(torch.rand(2, 3, 96, 96))
        assert model.trace.tokens() == [18]
    with pytest.raises(
        ValueError, match="ToMe2D reduces where every token is one patch: at one block, not at 2"
    ) as raised:
        atc.wrap(vit, "tome_2d", keep_rate=0.5, blocks=(1, 2))
    assert "\n" not in str(raised.value)


def test_tokens_that_do_not_fill_the_grid_are_refused():
    with pytest.raises(ValueError, match="24 tokens do not fill the grid of 5 x 6 patches"):
        ToMe2D(Stage(1, 6, 20))(view(4, 6)._replace(grid=(5, 6)), 20)


if importlib.util.find_spec("tomesd"):  # not a requirement

    @pytest.mark.parametrize("removed", [1, 7, 24])
    @pytest.mark.parametrize("random", [False, True])
    def test_against_the_authors_package(removed, random):
        merging = importlib.import_module("tomesd.merge")
        v, keep = view(6, 7, seed=removed), 42 - removed
        merge, unmerge = merging.bipartite_soft_matching_random2d(
            v.keys, 7, 6, 2, 2, removed, no_rand=not random, generator=torch.Generator().manual_seed(5)
        )
        generator = torch.Generator().manual_seed(5) if random else None
        plan = ToMe2D(Stage(1, 6, keep), generator=generator)(v, keep)
        expected = unmerge(merge(v.x))
        torch.testing.assert_close(plan.expand(plan.reduce(v.x, v.size)), expected, rtol=0, atol=1e-12)
