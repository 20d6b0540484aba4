"""The example of composed scenes, with pictures made up here: nothing is fetched."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from autoprune.core.imports import load_object
from autoprune.errors import DataError
from autoprune.tasks import Segmentation

EXAMPLE = Path(__file__).parents[2] / "examples" / "scenes"
CUTOUTS = 10  # of each class


def example(target: str) -> Any:
    return load_object(target, base=EXAMPLE)


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a cache with cutouts, each of one colour of its own, and with black wallpapers."""
    monkeypatch.setenv("AUTOPRUNE_CACHE", str(tmp_path))
    home = tmp_path / "scenes-photographs"
    for folder in example("fetch.py:KEPT"):
        (home / folder).mkdir(parents=True)
    for label, folders in enumerate(example("fetch.py:FOLDERS"), start=1):
        for number in range(CUTOUTS):
            drawn = np.zeros((50, 30, 4), np.uint8)
            drawn[5:45, 5:25] = (50 * label, 20 * number + 10, 200, 255)
            stamps = home / example("fetch.py:STAMPS") / folders[number % len(folders)]
            Image.fromarray(drawn).save(stamps / f"{number}.png")
            Image.fromarray(drawn[:, ::-1]).save(stamps / f"{number}_mirror.png")
    for name in example("compose.py:NO_FLOWERS"):
        file = home / example("fetch.py:WALLPAPERS") / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (300, 200)).save(file)
    return home


@pytest.mark.usefixtures("pictures")
def test_scenes_are_those_of_their_seed_and_split() -> None:
    make = example("compose.py:Composer")

    def images(*which: Any) -> torch.Tensor:
        composer = make(*which)
        return torch.stack([composer.scene().image for _ in range(4)])

    assert images("train", 0).equal(images("train", 0))
    assert not images("train", 0).equal(images("train", 1))
    assert not images("train", 0).equal(images("test", 0))


@pytest.mark.usefixtures("pictures")
def test_no_cutout_is_in_two_splits() -> None:
    make = example("compose.py:Composer")
    splits = [make(split)._cutouts for split in ("train", "search", "test")]
    for train, search, test in zip(*splits, strict=True):  # one class after the other
        kinds = [{cutout.tobytes() for cutout in own} for own in (train, search, test)]
        assert [len(own) for own in kinds] == [5, 2, 3]
        assert len(set.union(*kinds)) == CUTOUTS


@pytest.mark.usefixtures("pictures")
def test_masks_and_boxes_say_where_things_are() -> None:
    composer = example("compose.py:Composer")("train")
    for _ in range(30):
        scene = composer.scene()
        things = scene.image[2] > 190  # everything pasted is blue, and wallpapers are black
        assert not scene.mask[things].eq(0).any()
        assert len(scene.boxes) == len(scene.labels)
        for (left, top, right, bottom), label in zip(
            scene.boxes.int().tolist(), scene.labels, strict=True
        ):
            inside = scene.mask[top:bottom, left:right] == label
            assert inside.any(0)[[0, -1]].all()
            assert inside.any(1)[[0, -1]].all()


@pytest.mark.usefixtures("pictures")
def test_loaders_yield_what_the_task_takes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(example("data.py:SCENES"), "train", 6)
    monkeypatch.setitem(example("data.py:SCENES"), "search", 4)
    monkeypatch.setitem(example("data.py:SCENES"), "test", 4)
    task = Segmentation(example("data.py:loaders")(2))
    batches = [batch for split in ("train", "search", "test") for batch in task.batches(split)]
    assert len(batches) == 7
    model = example("model.py:pyramid")()
    task.check_outputs(task.outputs(model, batches[0]), batches[0])
    assert len([*tmp_path.glob("scenes-*.safetensors")]) == 3


def test_without_pictures_the_command_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOPRUNE_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DataError, match=r"type: apt-get update .* mate-backgrounds && for deb in"):
        example("fetch.py:pictures")()
