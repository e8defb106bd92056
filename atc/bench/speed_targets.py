"""What whole models are to reach on a GPU: their speed beside that of other methods, and of the dense model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Row = dict[str, Any]
Pick = Callable[[Row, Sequence[Row]], float | None]
ATC = ("atc_average", "atc_complete", "atc_single")
# What the speed of random pruning at the same keep rate bounds: who merges cannot be faster than who only selects.
OTHERS = {"dpc_knn": 90, "kmedoids": 85, "evit": 96}


def of_rival(method: str, rival: str, **where: Any) -> Pick:
    """The speed of a method in percent of another's, from a file of `python -m atc.bench throughput`.

    Args:
        method: a reducer.
        rival: another, measured beside it.
        where: further columns of the row, such as ``batch_size=256``.
    """

    def pick(row: Row, rows: Sequence[Row]) -> float | None:
        if not _is(row, method, where):
            return None
        same = {key: row.get(key) for key in ("batch_size", "precision", "compile", "cuda_graph", "keep_rate")}
        found = [other for other in rows if _is(other, rival, same)]
        return 100 * row["images_per_second"] / found[0]["images_per_second"] if found else None

    return pick


def of_dense(method: str, **where: Any) -> Pick:
    """The speed of a method as a multiple of the dense model's, from a file of throughput or of training.

    Args:
        method: a reducer.
        where: further columns of the row.
    """

    def pick(row: Row, rows: Sequence[Row]) -> float | None:
        return row.get("speed_up") if _is(row, method, where) else None

    return pick


def _is(row: Row, method: str, where: dict[str, Any]) -> bool:
    named = row.get("reducer", row.get("method"))
    measured = row.get("status", "measured") == "measured"
    return measured and named == method and all(row.get(key) == value for key, value in where.items())


_LARGE: dict[str, Any] = {"batch_size": 256, "cuda_graph": False}
_LARGEST: dict[str, Any] = {"batch_size": 64, "cuda_graph": False}
_ONE: dict[str, Any] = {"batch_size": 1}
# What it is, the result file, which figure, the aim, the unit.
AIMS: list[tuple[str, str, Pick, float, str]] = [
    *(
        (f"ATC's speed, of {rival}'s, {name}", file, of_rival("atc_average", rival, **where), goal, "%")
        for rival, goals in {"random": (97, 97, 93), "tome": (98, 98, 97)}.items()
        for (name, file, where), goal in zip(
            [
                ("DeiT-S", "throughput_deit_small_cuda", _LARGE),
                ("ViT-B", "throughput_deit_base_cuda", _LARGE),
                ("ViT-B at 384 pixels", "throughput_deit_base_384_cuda", _LARGEST),
            ],
            goals,
            strict=True,
        )
    ),
    *(
        (
            f"{name}'s speed, of random's, DeiT-S",
            "throughput_methods_cuda",
            of_rival(name, "random", **_LARGE),
            goal,
            "%",
        )
        for name, goal in OTHERS.items()
    ),
    *(
        (
            f"{name} of dense, DINOv2 ViT-S at 518 pixels, CUDA graph",
            "throughput_dinov2_small_518_cuda",
            of_dense(name, batch_size=16, cuda_graph=True),
            goal,
            "x",
        )
        for name, goal in zip(ATC, (1.15, 1.2, 1.3), strict=True)
    ),
    *(
        (
            f"ATC of dense, DeiT-S, one image, {mode}",
            "throughput_deit_small_cuda",
            of_dense("atc_average", cuda_graph=replayed, **_ONE),
            goal,
            "x",
        )
        for mode, replayed, goal in (("eager", False, 0.75), ("CUDA graph", True, 0.8))
    ),
    ("a training step of ATC, of dense, eager", "training_cuda", of_dense("atc_average", mode="eager"), 1.0, "x"),
    (
        "a training step of ATC, of dense, compiled",
        "training_cuda_compiled",
        of_dense("atc_average", mode="compiled"),
        1.3,
        "x",
    ),
]
