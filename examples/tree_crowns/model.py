"""A detector without anchors: MobileNetV2, a feature pyramid, and a map of centres.

Objects as points: Zhou et al. 2019, arXiv:1904.07850. Feature pyramid: Lin et al. 2017,
arXiv:1612.03144.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, interpolate, l1_loss, max_pool2d
from torchvision.models import mobilenet_v2

STRIDE = 4  # pixels of the image for each place of the map
LEVELS = ((4, 24), (7, 32), (14, 96), (18, 320))  # layers of MobileNetV2 and their channels
MOST_BOXES = 100
TYPICAL_BOXES = 10  # of a tile; losses are divided by it
SIZE_WEIGHT = 0.1

Boxes = Mapping[str, Tensor]


class CentreNet(nn.Module):
    """Tells for each place of an image whether a box has its centre there, and how large it is.

    Args:
        width: Channels of the feature pyramid.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.backbone = mobilenet_v2(weights=None).features[:18]
        self.laterals = nn.ModuleList(nn.Conv2d(channels, width, 1) for _, channels in LEVELS)
        self.smooth = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.head = nn.Conv2d(width, 5, 1)
        bias = torch.tensor([-4.0, 0, 0, 0, 0])  # centres are rare
        self.head.bias = nn.Parameter(bias)

    def forward(self, images: Tensor) -> Tensor:
        """Map ``batch x 3 x h x w`` to ``batch x 5 x h/4 x w/4``.

        The channels are the logit of a centre, its offset from the place in x and y, and width
        and height of the box, all in places.
        """
        levels = []
        start = 0
        for end, _ in LEVELS:
            images = self.backbone[start:end](images)
            levels.append(images)
            start = end
        found: Tensor | None = None
        for lateral, level in zip(reversed(self.laterals), reversed(levels), strict=True):
            here = lateral(level)
            if found is not None:
                here = here + interpolate(found, size=here.shape[-2:], mode="nearest")
            found = here
        maps: Tensor = self.head(self.smooth(found))
        return maps


def centre_net(width: int = 64) -> nn.Module:
    """Return an untrained `CentreNet`."""
    return CentreNet(width)


def loss(maps: Tensor, targets: Sequence[Boxes]) -> Tensor:
    """Return the focal loss of the centres and the distance of the boxes' sizes, by image.

    It is a mean over images: of each the sum, divided by what is typical.
    """
    centres, places = _wanted(maps, targets)
    logits, share = maps[:, 0], maps[:, 0].sigmoid()
    hit = centres == 1
    focus = torch.where(hit, (1 - share) ** 2, share**2 * (1 - centres) ** 4)
    found = (focus * binary_cross_entropy_with_logits(logits, hit.float(), reduction="none")).sum()
    image, x, y, boxes = places
    if len(image):
        told = maps[image, 1:, y, x]
        found = found + SIZE_WEIGHT * l1_loss(told, boxes, reduction="sum")
    return found / (len(maps) * TYPICAL_BOXES)


def _wanted(
    maps: Tensor, targets: Sequence[Boxes]
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Return the map of centres, a hill around each, and where what is to be told of boxes."""
    count, _, height, width = maps.shape
    hills = maps.new_zeros(count, height, width)
    ys, xs = torch.meshgrid(
        torch.arange(height, device=maps.device),
        torch.arange(width, device=maps.device),
        indexing="ij",
    )
    found: list[Tensor] = []
    for image, target in enumerate(targets):
        boxes = target["boxes"].to(maps) / STRIDE
        middle, size = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
        place = middle.floor().clamp_min(0)
        place = torch.minimum(place, place.new_tensor([width - 1, height - 1]))
        spread = (size / 6).clamp_min(0.5)
        for (at_x, at_y), (wide, high) in zip(place.tolist(), spread.tolist(), strict=True):
            far = (xs - at_x) ** 2 / (2 * wide**2) + (ys - at_y) ** 2 / (2 * high**2)
            hill = torch.exp(-far)
            hills[image] = torch.maximum(hills[image], hill)
        own = torch.full((len(boxes), 1), float(image), device=maps.device)
        found.append(torch.cat([own, place, middle - place, size], 1))
    rows = torch.cat(found)
    images, x, y = rows[:, :3].long().unbind(1)
    return hills, (images, x, y, rows[:, 3:])


def detections(maps: Tensor) -> list[Boxes]:
    """Return the boxes around the highest centres of each image, with scores and labels."""
    scores = maps[:, 0].sigmoid()
    peaks = scores * (max_pool2d(scores[:, None], 3, 1, 1)[:, 0] == scores)
    width = maps.shape[-1]
    best, at = peaks.flatten(1).topk(min(MOST_BOXES, peaks[0].numel()))
    found: list[Boxes] = []
    for image, (score, place) in enumerate(zip(best, at, strict=True)):
        x, y = place % width, place // width
        shift_x, shift_y, wide, high = maps[image, 1:, y, x]
        middle = torch.stack([x + shift_x, y + shift_y], 1)
        half = torch.stack([wide, high], 1).clamp_min(0.5) / 2
        boxes = torch.cat([middle - half, middle + half], 1) * STRIDE
        found.append({"boxes": boxes, "scores": score, "labels": torch.zeros_like(place)})
    return found
