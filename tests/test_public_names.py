"""The public names, which docs/stability.md promises: none comes or goes by accident."""

import importlib
import inspect

import pytest

PUBLIC = {
    "atc": """
        ReducedViT
        __version__
        check_plans
        cuda_graph
        dense
        diffusion
        draw
        fit_size_bias
        load_released_weights
        study
        training_losses
        unwrap
        wrap
    """,
    "atc.core": """
        Assign
        BlockGate
        Constant
        Count
        Counts
        Linear
        LossContext
        Metric
        Mix
        NotNegative
        Plan
        Positive
        Reducer
        Schedule
        Seed
        Select
        Share
        Stage
        StageCount
        StageTrace
        Stages
        TokenView
        Trace
        Whole
        check_plans
        follow
    """,
    "atc.ops.linkage": """
        BACKENDS
        BACKENDS_AMONG
        Dendrogram
        Effort
        METHODS
        TreeCut
        cosine_distance
        cut_tree
        dendrogram
        effort
        euclidean_distance
        grow_tree
        labels
        labels_among_neighbours
        labels_from_features
        labels_within
        merge_heights
        usable_backends
    """,
}


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names(name: str) -> None:
    module, names = importlib.import_module(name), PUBLIC[name].split()
    assert sorted(module.__all__) == names
    assert all(getattr(module, one) is not None for one in names)
    assert set(names) <= set(dir(module))


@pytest.mark.parametrize("name", PUBLIC)
def test_nothing_else_looks_public(name: str) -> None:
    """A name without an underscore that the module itself defines is listed."""
    module = importlib.import_module(name)
    defined = {key for key, value in vars(module).items() if getattr(value, "__module__", None) == name}
    own = {key for key in defined if not key.startswith("_") and not inspect.ismodule(getattr(module, key))}
    assert own <= set(module.__all__)
