"""A small residual network with a pyramid of features, that gives every pixel a class."""

from itertools import pairwise

from torch import Tensor, nn
from torch.nn.functional import interpolate


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut: ``relu(conv(conv(x)) + shortcut(x))``.

    Args:
        channels_in: Channels of the input.
        channels: Channels of the output.
        stride: 2 halves height and width.
    """

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.shortcut = nn.Sequential(
            nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``batch x channels_in x h x w`` to ``batch x channels x h/stride x w/stride``."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        result: Tensor = self.relu(out + self.shortcut(x))
        return result


class Pyramid(nn.Module):
    """Features at a half to a sixteenth of the size, added up from the smallest to the largest.

    Lin et al. 2017, arXiv:1612.03144.

    Args:
        width: Channels at half the size; each smaller one has twice as many.
        head: Channels in which the sizes are added.
        classes: Number of classes.
    """

    def __init__(self, width: int, head: int, classes: int) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width, 8 * width]
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 3, 2, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.stages = nn.ModuleList(Block(a, b, stride=2) for a, b in pairwise(widths))
        self.lateral = nn.ModuleList(nn.Conv2d(channels, head, 1) for channels in widths)
        self.mixed = nn.Sequential(
            nn.Conv2d(head, head, 3, padding=1, bias=False), nn.BatchNorm2d(head), nn.ReLU()
        )
        self.classify = nn.Conv2d(head, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map images, ``batch x 3 x h x w``, to logits, ``batch x classes x h x w``."""
        features = [self.stem(x)]
        for stage in self.stages:
            features.append(stage(features[-1]))
        *larger, smallest = (one(y) for one, y in zip(self.lateral, features, strict=True))
        for y in reversed(larger):
            smallest = y + interpolate(smallest, size=y.shape[-2:], mode="nearest")
        logits = self.classify(self.mixed(smallest))
        return interpolate(logits, size=x.shape[-2:], mode="bilinear", align_corners=False)


def pyramid(width: int = 12, head: int = 16, classes: int = 3) -> nn.Module:
    """Return an untrained `Pyramid`."""
    return Pyramid(width, head, classes)
