"""The example of captions, with pictures made up here: nothing is fetched."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprune.core.imports import load_object
from autoprune.tasks import Contrastive

EXAMPLE = Path(__file__).parents[2] / "examples" / "captions"
BAG = 8


def of(target: str) -> Any:
    return load_object(target, base=EXAMPLE)


def box(top: int, left: int, high: int, wide: int, brightness: float = 0.5) -> np.ndarray:
    """Return a picture, ``28 x 28``, of an even rectangle."""
    drawn = np.zeros((28, 28), np.float32)
    drawn[top : top + high, left : left + wide] = brightness
    return drawn


def words(picture: np.ndarray, clothes: int = BAG) -> set[str]:
    return set(of("data.py:captions")(picture[None], np.array([clothes]))[0].split())


@pytest.mark.parametrize(
    ("picture", "name", "third"),
    [
        (box(4, 10, 20, 8), "WIDTH", 0),
        (box(4, 4, 20, 20), "WIDTH", 1),
        (box(4, 1, 20, 26), "WIDTH", 2),
        (box(10, 4, 8, 20), "HEIGHT", 0),
        (box(2, 4, 24, 20), "HEIGHT", 1),
        (box(0, 4, 28, 20), "HEIGHT", 2),
        (box(4, 4, 20, 20, 0.3), "SHADE", 0),
        (box(4, 4, 20, 20, 0.6), "SHADE", 1),
        (box(4, 4, 20, 20, 0.9), "SHADE", 2),
    ],
)
def test_captions_say_what_is_seen(picture: np.ndarray, name: str, third: int) -> None:
    said = words(picture)
    for at, synonyms in enumerate(of(f"data.py:{name}")):
        assert bool(said & set(synonyms)) == (at == third)
    assert said & set(of("data.py:CLOTHES")[BAG])


@given(st.integers(0, 9), st.integers(0, 8), st.integers(0, 8), st.integers(1, 20), st.data())
def test_where_a_thing_is_does_not_matter(
    clothes: int, top: int, left: int, high: int, data: st.DataObject
) -> None:
    wide = data.draw(st.integers(1, 20))
    here, there = box(top, left, high, wide, 0.75), box(0, 0, high, wide, 0.75)
    assert words(here, clothes) == words(there, clothes)


def test_all_that_differs_is_told_apart_and_fits() -> None:
    sentence, tokens = of("data.py:_sentence"), of("data.py:tokens_of")
    captions = {sentence(*kind) for kind in np.ndindex(10, 3, 3, 3)}
    assert len(captions) == 270
    rows = {tokens(caption) for caption in captions}
    assert len(rows) == 270
    assert {len(row) for row in rows} == {of("data.py:LENGTH")}


def test_loaders_yield_pairs_that_the_model_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOPRUNE_CACHE", str(tmp_path))
    _write_fashion_mnist(tmp_path / "fashion-mnist")
    for split in ("train", "search", "test"):
        monkeypatch.setitem(of("data.py:PAIRS"), split, 20)
    task = Contrastive(of("data.py:loaders")(10))
    batches = [batch for split in ("train", "search", "test") for batch in task.batches(split)]
    assert [tuple(part.shape) for part in batches[0]] == [(10, 1, 28, 28), (10, 8)]
    assert len(batches) == 6
    task.check_outputs(task.outputs(of("model.py:two_towers")(), batches[0]), batches[0])


def _write_fashion_mnist(folder: Path) -> None:
    rng = np.random.default_rng(0)
    folder.mkdir()
    for part, count in (("train", 5_100), ("t10k", 20)):
        pixels = rng.integers(0, 256, (count, 28, 28), np.uint8).tobytes()
        classes = np.arange(count, dtype=np.uint8) % 10
        with gzip.open(folder / f"{part}-images-idx3-ubyte.gz", "wb", compresslevel=1) as file:
            file.write(bytes(16) + pixels)
        with gzip.open(folder / f"{part}-labels-idx1-ubyte.gz", "wb") as file:
            file.write(bytes(8) + classes.tobytes())
