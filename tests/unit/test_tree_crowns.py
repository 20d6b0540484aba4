"""The example of detection: what its model says and learns, and how its tiles are cut."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from autoprune.core.imports import load_object
from autoprune.errors import DataError

EXAMPLE = Path(__file__).parents[2] / "examples" / "tree_crowns"


def of(name: str) -> Any:
    return load_object(name, base=EXAMPLE)


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def target(*boxes: tuple[float, float, float, float]) -> dict[str, Any]:
    found = torch.tensor(boxes, dtype=torch.float32).view(-1, 4)
    return {"boxes": found, "labels": torch.zeros(len(found), dtype=torch.int64)}


def test_boxes_are_read_from_the_highest_centres() -> None:
    maps = torch.full((2, 5, 8, 8), -9.0)
    maps[0, :, 3, 5] = torch.tensor([4.0, 0.5, 0.25, 2.0, 3.0])
    maps[0, 0, 3, 4] = 3.9  # beside a peak, so none of its own
    first, second = of("model.py:detections")(maps)
    assert first["boxes"][0].tolist() == [18.0, 7.0, 26.0, 19.0]
    assert first["scores"][0] == torch.tensor(4.0).sigmoid()
    assert float(first["scores"][1]) < 1e-3
    assert float(second["scores"].max()) < 1e-3


def test_training_finds_the_boxes_of_an_image() -> None:
    net, loss = of("model.py:centre_net")(width=16), of("model.py:loss")
    images = torch.rand(2, 3, 64, 64)
    targets = [target((8, 8, 28, 32)), target()]
    images[0, :, 8:32, 8:28] += 3
    optimiser = torch.optim.Adam(net.parameters(), 3e-3)
    first = float(loss(net(images), targets).detach())
    for _ in range(60):
        optimiser.zero_grad()
        found = loss(net(images), targets)
        found.backward()
        optimiser.step()
    assert float(found.detach()) < first / 5
    box = of("model.py:detections")(net(images))[0]["boxes"][0]
    torch.testing.assert_close(box, targets[0]["boxes"][0], atol=6, rtol=0)


def test_the_loss_is_the_mean_over_images() -> None:
    loss, maps = of("model.py:loss"), torch.randn(3, 5, 8, 8)
    targets = [target((4, 4, 12, 12)), target(), target((0, 0, 30, 30), (9, 3, 20, 18))]
    parts = [loss(maps[at : at + 1], targets[at : at + 1]) for at in range(3)]
    torch.testing.assert_close(torch.stack(parts).mean(), loss(maps, targets))


def test_a_tile_has_the_crowns_that_it_shows_enough_of() -> None:
    boxes = torch.tensor([[10.0, 10, 30, 30], [180, 10, 200, 30], [185, 10, 215, 30]])
    strip = of("data.py:Strip")(torch.zeros(3, 400, 400), boxes)
    image, found = strip.tile(0, 0)
    assert image.shape == (3, 192, 192)
    assert found["boxes"].tolist() == [[10, 10, 30, 30], [180, 10, 192, 30]]
    _, shifted = strip.tile(5, 20)
    assert shifted["boxes"].tolist() == [[0, 5, 10, 25], [160, 5, 180, 25], [165, 5, 192, 25]]


def test_crops_are_turned_with_their_boxes() -> None:
    image = torch.zeros(3, 192, 192)
    image[:, 20:50, 100:180] = 1
    for _ in range(12):
        turned, found = of("data.py:_turned")(image, target((100, 20, 180, 50)))
        x1, y1, x2, y2 = found["boxes"][0].long().tolist()
        assert float(turned[:, y1:y2, x1:x2].mean()) == 1
        assert float(turned.sum()) == 3 * (x2 - x1) * (y2 - y1)


def test_where_nothing_can_be_fetched_the_command_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise subprocess.CalledProcessError(1, "pip")

    monkeypatch.setenv("AUTOPRUNE_CACHE", str(tmp_path))
    monkeypatch.setattr(subprocess, "run", fails)
    with pytest.raises(DataError, match=r"pip download --no-deps --dest wheels deepforest==2.1.0"):
        of("fetch.py:tree_crowns")()
    assert "MIT licence" in capsys.readouterr().err
    assert not list(tmp_path.iterdir()), "nothing half is left"
