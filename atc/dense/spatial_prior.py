"""ViT-Adapter's convolutional pyramid (arXiv 2205.08534, Sec. 3.2)."""

from torch import Tensor, nn


def _stage(channels: int, out: int, stride: int) -> list[nn.Module]:
    convolution = nn.Conv2d(channels, out, 3, stride=stride, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(out), nn.ReLU(inplace=True)]


class SpatialPrior(nn.Module):
    """Four maps of an image at strides 4, 8, 16 and 32.

    Args:
        channels: of the first map; the others have two and four times as many.
        dim: C, channels of the results.
    """

    def __init__(self, channels: int, dim: int):
        super().__init__()
        first = [*_stage(3, channels, 2), *_stage(channels, channels, 1), *_stage(channels, channels, 1)]
        self.stem = nn.Sequential(*first, nn.MaxPool2d(3, stride=2, padding=1))
        self.conv2 = nn.Sequential(*_stage(channels, 2 * channels, 2))
        self.conv3 = nn.Sequential(*_stage(2 * channels, 4 * channels, 2))
        self.conv4 = nn.Sequential(*_stage(4 * channels, 4 * channels, 2))
        self.fc1 = nn.Conv2d(channels, dim, 1)
        self.fc2 = nn.Conv2d(2 * channels, dim, 1)
        self.fc3 = nn.Conv2d(4 * channels, dim, 1)
        self.fc4 = nn.Conv2d(4 * channels, dim, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """``[B, 3, H, W]`` -> the map ``[B, C, H/4, W/4]``, and the three coarser maps as tokens ``[B, n, C]``."""
        first = self.stem(images)
        second = self.conv2(first)
        third = self.conv3(second)
        fourth = self.conv4(third)
        maps = self.fc2(second), self.fc3(third), self.fc4(fourth)
        return self.fc1(first), [one.flatten(2).transpose(1, 2) for one in maps]
