"""What tests of diffusion models share."""

import pytest


@pytest.fixture
def pipeline():
    """A small Stable Diffusion of random weights, which makes pictures of 16 x 16 pixels."""
    pytest.importorskip("diffusers")
    from atc.diffusion import tiny

    return tiny.stable_diffusion(16)
