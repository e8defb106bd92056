"""Small random pipelines: whole ones, the same for the same seed, and written for commands."""

import pytest
import torch
from PIL import Image

diffusers = pytest.importorskip("diffusers")

from atc.diffusion import tiny  # noqa: E402

PICTURE = Image.new("RGB", (64, 64), (200, 30, 60))
MORE = {
    "inpainting": {"image": PICTURE, "mask_image": Image.new("L", (64, 64), 255)},
    "control_net": {"image": PICTURE},
}


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_draws_an_image_from_the_seed_and_touches_no_other_numbers(kind):
    state = torch.random.get_rng_state()
    drawn = [
        tiny.KINDS[kind](seed=seed)(
            "a magpie", num_inference_steps=1, generator=torch.Generator().manual_seed(0), **MORE.get(kind, {})
        ).images[0]
        for seed in (0, 0, 1)
    ]
    assert drawn[0].size == (64, 64)
    assert drawn[0].tobytes() == drawn[1].tobytes() != drawn[2].tobytes()
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_text_is_its_bytes():
    words = tiny.tiny_parts.tokenizer()
    assert words.decode(words("crane é").input_ids, skip_special_tokens=True) == "crane é"
    assert len(words("é").input_ids) == 4
    assert len(words) == 514


def test_command_writes_a_directory_once(tmp_path, capsys):
    assert tiny.main([str(tmp_path / "sd"), "--size", "32"]) == 0
    loaded = diffusers.StableDiffusionPipeline.from_pretrained(tmp_path / "sd")
    assert loaded.unet.config.sample_size == 16
    own = tiny.stable_diffusion(32).unet.state_dict()
    assert all(torch.equal(own[name], value) for name, value in loaded.unet.state_dict().items())
    for arguments, said in (
        ([str(tmp_path / "sd")], "nothing is overwritten"),
        ([str(tmp_path / "a"), "--size", "12"], "size=12 must be a multiple of 8"),
    ):
        capsys.readouterr()
        assert tiny.main(arguments) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1
