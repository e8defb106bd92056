"""The numbers behind FID and KID against the libraries that others use, and against loops."""

import importlib
import importlib.util
import itertools
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import poly_mmd

from atc.diffusion.fid import frechet_distance, kernel_distance
from atc.diffusion.fid.frechet import distance_of_moments, moments, root
from atc.diffusion.fid.inception import Inception, load_inception
from atc.diffusion.fid.resize import clean, read_rgb, resized, torch_fidelity

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "fid.npz")  # by clean-fid 0.1.35
SIZES = [(31, 44), (299, 299), (1, 1), (512, 512), (300, 101)]
MODES = ["L", "LA", "P", "RGBA", "CMYK", "1", "YCbCr", "RGB"]
NAMES = {"CMYK": "x.jpg", "YCbCr": "x.jpg"}


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def written(folder, mode):
    path = folder / NAMES.get(mode, "x.png")
    image = Image.fromarray(picture(37, 53))
    if mode in ("LA", "RGBA"):
        image.putalpha(Image.fromarray(picture(37, 53, seed=1)[..., 0]))
    image.convert(mode).save(path)
    return path


@pytest.mark.parametrize(("kind", "most"), [("full", 1e-9), ("rank_deficient", 1e-8)])
def test_frechet_distance_of_the_golden_file(kind, most):
    x, y, expected = (GOLDEN[f"{kind}|{name}"] for name in ("x", "y", "fid"))
    assert frechet_distance(x, y) == pytest.approx(float(expected), rel=most)
    assert frechet_distance(y, x) == pytest.approx(float(expected), rel=most)


@pytest.mark.parametrize(("n", "m", "d"), [(50, 40, 6), (30, 30, 1), (200, 64, 16)])
def test_frechet_distance_against_torchmetrics(n, m, d):
    class Flat(nn.Module):
        num_features = d

        def forward(self, x):
            return x[:, :d, 0, 0]

    metric = FrechetInceptionDistance(Flat(), normalize=True, input_img_size=(d, 1, 1)).set_dtype(torch.float64)
    x, y = normal(n, d), normal(m, d, seed=1) * 1.5 + 0.3
    for rows, real in ((x, True), (y, False)):
        metric.update(torch.from_numpy(rows)[..., None, None], real=real)
    assert frechet_distance(x, y) == pytest.approx(metric.compute().item(), rel=1e-9)


def test_frechet_distance_of_one_set_and_of_known_distributions():
    x = normal(20, 32)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-4)
    assert frechet_distance(x, x + 2) == pytest.approx(32 * 4, abs=1e-4)
    doubled = 2 * (y := normal(500, 3))  # the covariance is four times as large
    shift = ((doubled.mean(0) - y.mean(0)) ** 2).sum()
    assert frechet_distance(y, doubled) == pytest.approx(shift + np.trace(np.cov(y, rowvar=False)), rel=1e-9)
    one, other = moments(normal(40, 5)), moments(normal(30, 5, seed=2))
    assert distance_of_moments(one, other, root(one.covariance)) == distance_of_moments(one, other)


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        (normal(1, 4), normal(5, 4), r"x has the shape \[1, 4\]: it must be .* 2 images or more"),
        (normal(5), normal(5, 4), r"x has the shape \[5\]"),
        (normal(5, 4), normal(5, 3), "x has 4 features an image, y 3"),
        (normal(5, 4), np.full((5, 4), np.nan), "y has features that are not finite"),
    ],
)
@pytest.mark.parametrize("function", [frechet_distance, kernel_distance])
def test_what_are_no_features(function, x, y, said):
    with pytest.raises(ValueError, match=said) as raised:
        function(x, y)
    assert "\n" not in str(raised.value)


def test_kernel_distance_against_torchmetrics_and_loops():
    x, y = normal(24, 8), normal(24, 8, seed=1) + 0.2
    found = kernel_distance(x, y, resamples=50)
    assert found.value == pytest.approx(poly_mmd(torch.from_numpy(x), torch.from_numpy(y)).item(), rel=1e-12)
    assert found.low < found.value < found.high
    x = x[:7]

    def k(a, b):
        return (a @ b / 8 + 1) ** 3

    within = [np.mean([k(a, b) for a, b in itertools.permutations(rows, 2)]) for rows in (x, y)]
    across = np.mean([k(a, b) for a, b in itertools.product(x, y)])
    found = kernel_distance(x, y, resamples=0)
    assert found.value == found.low == found.high == pytest.approx(sum(within) - 2 * across, rel=1e-12)


def test_the_interval_of_the_kernel_distance_covers_what_it_should():
    right = kernel_distance(normal(3000, 4, seed=7), normal(3000, 4, seed=8) + 0.3, resamples=0).value
    found = [
        kernel_distance(normal(50, 4, seed=2 * i), normal(60, 4, seed=2 * i + 1) + 0.3, resamples=100, seed=i)
        for i in range(10, 70)
    ]
    assert sum(one.low <= right <= one.high for one in found) >= 51  # of 60, 57 expected
    assert kernel_distance(normal(2, 4), normal(2, 4, seed=1), resamples=20).low <= 1e9  # resamples of one image


@pytest.mark.parametrize(("height", "width"), [(31, 44), (512, 512), (333, 500)])
def test_the_clean_resizer_of_the_golden_file(height, width):
    y, x = np.mgrid[:height, :width]
    waves = np.stack([np.sin(x / 3 + y / 7), np.cos(y / 5 - x / 11), np.sin(x * y / 97)], -1)
    found = clean(((waves + 1) * 127.5).round().astype(np.uint8))
    assert found.dtype == np.float32
    assert found.shape == (299, 299, 3)
    np.testing.assert_allclose(found[::13, ::13], GOLDEN[f"clean|{height}x{width}"], rtol=0, atol=1e-3)


def test_the_bilinear_resizer_takes_corners_and_neither_smooths_nor_centres():
    x = np.arange(598, dtype=np.float32)[None, :, None].repeat(598, 0).repeat(3, 2)
    assert np.array_equal(torch_fidelity(x), x[:299, ::2])
    grown = torch_fidelity(np.stack([np.zeros((2, 3)), np.full((2, 3), 299)], 1))
    assert grown[0, :, 0] == pytest.approx(np.minimum(np.arange(299) * 2, 299), abs=1e-4)


@pytest.mark.parametrize("mode", MODES)
def test_pictures_of_every_mode_are_read_as_pillow_converts_them(mode, tmp_path):
    path = written(tmp_path, mode)
    with Image.open(path) as image:
        assert np.array_equal(read_rgb(path), np.array(image.convert("RGB")))
    assert resized(path, "clean").shape == (299, 299, 3)


def test_pictures_that_cannot_be_read(tmp_path):
    Image.fromarray(picture(9, 9)[..., 0].astype(np.uint16) * 257).save(tmp_path / "wide.png")
    (tmp_path / "none.png").write_bytes(b"text")
    whole = (written(tmp_path, "RGB")).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    for name, said in (("wide", "more than 8 bits"), ("none", "not a picture"), ("cut", "truncated")):
        with pytest.raises(ValueError, match=f"{name}.png cannot be read: .*{said}") as raised:
            read_rgb(tmp_path / f"{name}.png")
        assert "\n" not in str(raised.value)


@pytest.fixture(scope="module")
def weights():
    torch.manual_seed(0)
    network = torchvision.models.inception_v3(weights=None, num_classes=1008, aux_logits=False, init_weights=False)
    for name, buffer in network.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.1)
        elif name.endswith("running_var"):
            buffer.uniform_(0.05, 0.2)  # so that features are not all alike
    return network.state_dict()


def test_the_network_is_torchvisions_with_other_pooling(weights, monkeypatch):
    theirs = torchvision.models.inception_v3(weights=None, num_classes=1008, aux_logits=False, init_weights=False)
    theirs.load_state_dict(weights)
    theirs.fc = nn.Identity()
    pixels = torch.from_numpy(picture(107, 107)).permute(2, 0, 1)[None].float()
    ours = Inception(weights)
    plain = theirs.eval()((pixels - 128) / 128)
    pool = nn.functional.avg_pool2d
    calls = []

    def tensorflow_pool(x, kernel_size, stride, padding):
        calls.append(x.shape)
        if len(calls) == 9:
            return nn.functional.max_pool2d(x, kernel_size, stride, padding)
        return pool(x, kernel_size, stride, padding, count_include_pad=False)

    functions = SimpleNamespace(**{**vars(nn.functional), "avg_pool2d": tensorflow_pool})
    monkeypatch.setattr("torchvision.models.inception.F", functions)
    expected = theirs((pixels - 128) / 128)
    monkeypatch.undo()
    assert len(calls) == 9
    assert torch.equal(ours(pixels), expected)
    assert not torch.allclose(expected, plain, rtol=1e-3)
    assert ours.train() is ours
    assert not ours.training


def test_weights_are_read_from_a_file_and_others_refused(weights, tmp_path):
    file = tmp_path / "pt_inception.pth"
    torch.save({key: value for key, value in weights.items() if "num_batches" not in key}, file)
    pixels = torch.from_numpy(picture(107, 107)).permute(2, 0, 1)[None].float()
    assert torch.equal(load_inception(file)(pixels), Inception(weights)(pixels))
    of_torchvision = {**weights, "fc.weight": torch.zeros(1000, 2048)}
    for name, state, said in (
        ("imagenet", of_torchvision, r"fc.weight of shape \[1000, 2048\] instead of \[1008, 2048\]"),
        ("other", {"head.weight": torch.zeros(3)}, "lacks 472 of the 566 tensors of Inception, such as Conv2d_1a_3x3"),
    ):
        torch.save(state, tmp_path / f"{name}.pth")
        with pytest.raises(ValueError, match=said) as raised:
            load_inception(tmp_path / f"{name}.pth")
        assert "weights-inception-2015-12-05-6726825d.pth and give weights=FILE" in str(raised.value)
        assert "\n" not in str(raised.value)


def test_weights_that_are_not_there_are_asked_for_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    for offline in ("1", "0"):
        monkeypatch.setenv("HF_HUB_OFFLINE", offline)

        def download(url, *args, **options):
            raise OSError("no route to host")

        monkeypatch.setattr(torch.hub, "download_url_to_file", download)
        said = "HF_HUB_OFFLINE is set" if offline == "1" else "no route to host"
        with pytest.raises(FileNotFoundError, match=f"{said}.*get https://github.com/toshas") as raised:
            load_inception()
        assert "\n" not in str(raised.value)


# The libraries themselves, which are no requirements.
if importlib.util.find_spec("cleanfid"):
    cleanfid = importlib.import_module("cleanfid.resize")

    @pytest.mark.parametrize("size", SIZES)
    def test_the_resizer_of_clean_fid(size):
        assert np.array_equal(clean(picture(*size)), cleanfid.build_resizer("clean")(picture(*size)))

    @pytest.mark.parametrize("mode", MODES)
    def test_reading_and_resizing_as_clean_fid_does(mode, tmp_path):
        path = written(tmp_path, mode)
        theirs = importlib.import_module("cleanfid.utils").ResizeDataset([path], mode="clean")[0]
        assert np.array_equal(resized(path, "clean"), theirs.permute(1, 2, 0).numpy())

    def test_the_distances_of_clean_fid():
        fid = importlib.import_module("cleanfid.fid")
        x, y = normal(60, 12), normal(60, 12, seed=1) * 1.2
        theirs = fid.kernel_distance(x, y, num_subsets=1, max_subset_size=60)
        assert kernel_distance(x, y, resamples=0).value == pytest.approx(theirs, rel=1e-9)


if importlib.util.find_spec("torch_fidelity"):

    @pytest.mark.parametrize("size", SIZES)
    def test_the_resizer_of_torch_fidelity(size):
        module = importlib.import_module("torch_fidelity.interpolate_compat_tensorflow")
        x = torch.from_numpy(picture(*size)).permute(2, 0, 1)[None].float()
        theirs = module.interpolate_bilinear_2d_like_tensorflow1x(x, size=(299, 299), align_corners=False)
        assert np.array_equal(torch_fidelity(picture(*size)), theirs[0].permute(1, 2, 0).numpy())

    def test_the_network_of_torch_fidelity(weights, tmp_path):
        torch.save(weights, tmp_path / "weights.pth")
        module = importlib.import_module("torch_fidelity.feature_extractor_inceptionv3")
        theirs = module.FeatureExtractorInceptionV3("x", ["2048"], str(tmp_path / "weights.pth"))
        theirs.INPUT_IMAGE_SIZE = 107
        x = torch.from_numpy(picture(107, 107)).permute(2, 0, 1)[None]
        torch.testing.assert_close(Inception(weights)(x.float()), theirs(x)[0], rtol=1e-5, atol=1e-6)
