"""Token counts against the lists of the papers' code."""

import pytest

from atc.core import Constant, Linear, Stages
from reducers.tome import ToMe


def keeps(schedule, least=lambda n: 1, n=196, depth=12, **kwargs):
    return [c.keep for c in schedule.resolve(n, depth, least, **kwargs)]


@pytest.mark.parametrize(
    ("rate", "expected"),
    [(0.25, [49, 12, 3]), (0.5, [98, 49, 24]), (0.7, [137, 96, 67]), (0.9, [176, 158, 142]), (1.0, [196] * 3)],
)
def test_stages_truncate_powers_of_the_original_count(rate, expected):
    assert keeps(Stages(rate)) == expected
    assert keeps(Stages(rate, as_released=True)) == expected


def test_stages_never_reach_zero():
    assert keeps(Stages(0.1), n=49) == [4, 1, 1]


def test_explicit_counts():
    assert keeps(Stages(keep=[100, 50, 20])) == [100, 50, 20]


@pytest.mark.parametrize("extra", [0, 1])
def test_extra_tokens_enter_the_next_stage(extra):
    counts = Stages(0.5).resolve(196, 12, extra=extra)
    assert [c.tokens_in for c in counts] == [196, 98 + extra, 49 + extra]
    assert [c.keep for c in counts] == [98, 49, 24]


def test_tome_at_half_misses_by_one_token_and_takes_it():
    counts = Stages(0.5).resolve(196, 12, ToMe.least)
    assert [c.keep for c in counts] == [98, 49, 25]
    assert [c.target for c in counts] == [98, 49, 24]


def test_tome_at_a_quarter_is_refused_unless_clamped():
    with pytest.raises(ValueError, match=r"cannot leave 49 of 196 tokens at block 4: it reaches 98"):
        keeps(Stages(0.25), ToMe.least)
    assert keeps(Stages(0.25, clamp=True), ToMe.least) == [98, 49, 25]
    assert keeps(Stages(0.25, as_released=True), ToMe.least) == [98, 61, 52]


LINEAR = {
    (16, 12): [32, 29, 26, 23, 20, 17, 14, 11, 8, 5, 2, 0],
    (8, 24): [16, 15, 14, 13, 13, 12, 11, 11, 10, 9, 9, 8, 7, 6, 6, 5, 4, 4, 3, 2, 2, 1, 0, 0],
}


@pytest.mark.parametrize(("t", "depth"), LINEAR)
def test_linear_removals(t, depth):
    assert Linear(t).removed(depth) == LINEAR[t, depth]


def test_linear_huge_sums_to_209():
    assert sum(Linear(7).removed(32)) == 209


@pytest.mark.parametrize(
    ("n", "depth", "t", "schedule", "tome", "atc"),
    [
        (196, 12, 16, Constant, 11, 17), (196, 12, 16, Linear, 10, 21),
        (196, 24, 8, Constant, 7, 29), (196, 24, 8, Linear, 16, 38),
        (256, 32, 7, Constant, 33, 65), (256, 32, 7, Linear, 48, 77),
    ],
)  # fmt: skip
def test_final_counts_of_the_released_every_block_code(n, depth, t, schedule, tome, atc):
    """With CLS, as the authors' code counts: Table 1's settings for ViT-B, L and H."""
    released = schedule(t, as_released=True)
    assert keeps(released, ToMe.least, n, depth)[-1] + 1 == tome
    assert keeps(released, n=n, depth=depth, surplus=1)[-1] + 1 == atc


def test_every_block_as_stated_removes_t():
    assert keeps(Constant(8)) == [196 - 8 * b for b in range(1, 13)]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Stages(0.0), r"keep_rate=0.0 must lie in \(0, 1\]"),
        (lambda: Stages(1.5), r"keep_rate=1.5"),
        (lambda: Stages(0.5, blocks=[7, 4]), r"blocks=\[7, 4\] must be distinct and ascending"),
        (lambda: Stages(), r"give either keep_rate or keep"),
        (lambda: Stages(keep=[3, 2]), r"keep=\[3, 2\] needs one positive count"),
        (lambda: Stages(0.5).resolve(196, 6), r"blocks=\[4, 7, 10\] must lie in 1..6"),
        (lambda: Constant(-1), r"t=-1 must be 0 or more"),
        (lambda: Stages("half"), r"keep_rate=half must be a number in \(0, 1\]"),
        (lambda: Linear("x"), r"t=x must be a whole number"),
        (lambda: Linear(2.5), r"t=2.5 must be a whole number"),
        (lambda: Constant(30).resolve(196, 12), r"cannot leave -14 of 16 tokens at block 7"),
    ],
)
def test_errors_are_one_line_with_the_value(make, message):
    with pytest.raises(ValueError, match=message) as error:
        make()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("rates", "expected"),
    [([0.9, 0.7, 0.5], [176, 123, 61]), ((1.0, 0.5, 0.5), [196, 98, 49]), ([0.7, 0.7, 0.7], [137, 96, 67])],
)
def test_a_share_for_each_stage_multiplies(rates, expected):
    assert keeps(Stages(rates)) == expected
    product = 196.0
    for rate, count in zip(rates, expected, strict=True):
        product *= rate
        assert int(product) == count


def test_a_share_for_each_stage_or_none():
    with pytest.raises(ValueError, match=r"keep_rate=\[0.9, 0.7\] needs one share for each of the blocks \[4, 7, 10\]"):
        Stages([0.9, 0.7])
    for wrong in ([0.9, 1.5, 0.5], [0.9, 0.0, 0.5], [0.9, "a", 0.5]):
        with pytest.raises(ValueError, match="keep_rate="):
            Stages(wrong)
    with pytest.raises(ValueError, match=r"keep_rate=1.5 must lie in \(0, 1\]"):
        Stages(1.5)


@pytest.mark.parametrize(
    ("n", "rate", "expected"),
    [(196, 0.7, [137, 95, 66]), (196, 0.9, [176, 158, 142]), (35, 0.5, [17, 8, 4]), (49, 0.1, [4, 1, 1])],
)
def test_shares_of_the_current_tokens_compound(n, rate, expected):
    assert keeps(Stages(rate, of="current"), n=n) == expected
    left = n
    for count in expected:
        left = max(1, int(left * rate))
        assert left == count
    assert keeps(Stages([rate] * 3, of="current"), n=n) == expected


def test_shares_of_the_current_tokens_count_the_extra_ones():
    counts = Stages(0.5, of="current").resolve(196, 12, extra=1)
    assert [c.keep for c in counts] == [98, 49, 25]
    assert [c.tokens_in for c in counts] == [196, 99, 50]


def test_of_is_original_or_current():
    assert keeps(Stages(0.7, of=None)) == keeps(Stages(0.7, of="original")) == [137, 96, 67]
    with pytest.raises(ValueError, match="of="):
        Stages(0.7, of="both")
    with pytest.raises(ValueError, match="of=current is for a keep_rate"):
        Stages(keep=[3, 2, 1], of="current")
