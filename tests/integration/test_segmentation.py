"""Whole searches of segmentation models, ONNX included."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck, ResNet
from torchvision.models.segmentation import lraspp_mobilenet_v3_large
from torchvision.models.segmentation.fcn import _fcn_resnet

import autoprune
from autoprune.formats.onnx import run_onnx
from autoprune.surgery.compare import difference, outputs

CLASSES, SIDE = 4, 32
QUICK = autoprune.Recovery(
    score_steps=1, recover_steps=2, finalists=1, calibration_batches=1, stages=()
)


def pair(channels_in: int, channels: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for given in (channels_in, channels):
        layers += [nn.Conv2d(given, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU()]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """Three sizes, skips by concatenation, transposed convolutions upwards."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.down1, self.down2 = pair(3, width), pair(width, 2 * width)
        self.bottom, self.pool = pair(2 * width, 4 * width), nn.MaxPool2d(2)
        self.up2, self.mix2 = nn.ConvTranspose2d(4 * width, 2 * width, 2, 2), pair(4 * width, 16)
        self.up1, self.mix1 = nn.ConvTranspose2d(16, width, 2, 2), pair(2 * width, width)
        self.head = nn.Conv2d(width, CLASSES, 1)

    def forward(self, x: Tensor) -> Tensor:
        large = self.down1(x)
        middle = self.down2(self.pool(large))
        x = self.up2(self.bottom(self.pool(middle)))
        x = self.up1(self.mix2(torch.cat([x, middle], 1)))
        logits: Tensor = self.head(self.mix1(torch.cat([x, large], 1)))
        return logits


def lraspp() -> nn.Module:
    model: nn.Module = lraspp_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=CLASSES
    )
    return model


def fcn() -> nn.Module:
    """Return torchvision's FCN with its auxiliary head, on a ResNet of 14 layers."""
    backbone = ResNet(Bottleneck, [1, 1, 1, 1], replace_stride_with_dilation=[False, True, True])
    model: nn.Module = _fcn_resnet(backbone, CLASSES, True)
    return model


def scenes(seed: int, samples: int = 8) -> list[tuple[Tensor, Tensor]]:
    """Return batches whose classes can be learned, the first rows to be ignored."""
    rng = torch.Generator().manual_seed(seed)
    masks = torch.randint(CLASSES, (samples, SIDE, SIDE), generator=rng)
    images = torch.randn(samples, 3, SIDE, SIDE, generator=rng) + masks[:, None]
    masks[:, :2] = 255
    return [*zip(images.split(4), masks.split(4), strict=True)]


@pytest.mark.parametrize(
    ("make", "score_by"),
    [
        pytest.param(UNet, "loss", id="unet"),
        pytest.param(lraspp, "metric", id="lraspp", marks=pytest.mark.slow),
        pytest.param(fcn, "kl", id="fcn", marks=pytest.mark.slow),
    ],
)
def test_half_the_macs_of_a_segmentation_model(make: type, score_by: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model: nn.Module = make()
    task = autoprune.Segmentation({"train": scenes(1), "search": scenes(2), "test": scenes(3)})
    found = autoprune.search(
        model,
        task=task,
        budget="macs=50%",
        trials=2,
        sensitivity=False,
        recovery=autoprune.Recovery(**{**QUICK.to_dict(), "score_by": score_by}),
        out=tmp_path / "run",
        progress=lambda _: None,
    )
    result = json.loads((found.folder / "result.json").read_text())
    assert result["pruned"]["macs"] <= result["dense"]["macs"] / 2
    assert 0 <= result["pruned"]["quality_test"] <= 1
    assert result["checks"]["onnx_max_diff"] < 1e-3
    x = [torch.randn(3, 3, SIDE, SIDE)]
    small = autoprune.load(found.folder, make)
    assert difference(run_onnx(found.folder / "model.onnx", x), outputs(small, x)) < 1e-3
