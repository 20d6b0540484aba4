"""Settings of the recovery: what is allowed, for whom it holds, and what tells two apart."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from autoprune.core.recovery import Recovery
from autoprune.errors import ConfigError
from autoprune.evaluation.scoring.way import fingerprint_of

USUAL = Recovery()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (
            {"rate_schedule": "linear"},
            r"one of cosine, one-cycle, constant\. Got 'linear'",
        ),
        (
            {"amp": False},
            r"amp must be one of auto, none, bfloat16, float16\. Got False",
        ),
        ({"ema": 1.0}, r"recovery\.ema must be below 1\. Got 1\.0"),
        ({"ema": -0.1}, r"recovery\.ema must be a number of at least 0\. Got -0\.1"),
        ({"clip_norm": float("inf")}, r"clip_norm must be at most 1,000,000,000\. Got inf"),
        ({"clip_norm": "1"}, r"recovery\.clip_norm must be a number of at least 0\. Got '1'"),
        ({"distill_features": float("nan")}, r"recovery\.distill_features must be a number"),
        ({"patience": 1.5}, r"recovery\.patience must be a whole number of at least 0\. Got 1\.5"),
        ({"score_steps": -1}, r"recovery\.score_steps must be a whole number of at least 0"),
        ({"finalists": "few"}, r"recovery\.finalists must be a whole number of at least 1"),
        ({"look_every": 0}, r"recovery\.look_every must be a whole number of at least 1\. Got 0"),
        ({"patience": True}, r"recovery\.patience must be a whole number"),
        ({"distill": 1.5}, r"recovery\.distill must be a share of the loss, 0 to 1.*Got 1\.5"),
        ({"distill_modules": 3}, r"recovery\.distill_modules must be a list of names.*Got 3"),
        ({"distill_modules": ["a", ""]}, r"recovery\.distill_modules must be a list of names"),
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Recovery(**wrong)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"prune_until": 0.5}, "prune_until has no effect without recovery.schedule: progressive"),
        ({"schedule": "progressive", "patience": 3}, "patience has no effect.*schedule: one-shot"),
        (
            {"look_every": 3},
            "look_every has no effect without recovery.patience. Leave it out, or",
        ),
        (
            {"distill": 0.0, "distill_temperature": 4.0},
            "distill_temperature has no effect without recovery.distill",
        ),
        ({"distill_modules": ("a",), "distill": 1.0}, "without recovery.distill_features"),
    ],
)
def test_settings_without_effect_are_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        replace(USUAL, **given).check_effect()
    USUAL.check_effect()
    replace(USUAL, schedule="progressive", prune_until=0.5, distill=1.0).check_effect()


def test_settings_survive_a_round_trip() -> None:
    own = Recovery(distill_modules="layer1", stages=((1, 1),), amp="none")  # type: ignore[arg-type]
    assert own.distill_modules == ("layer1",)
    assert Recovery(**own.to_dict()) == own


@pytest.mark.parametrize(
    ("given", "steps"),
    [
        ({}, 0),
        ({"reconstruct": False}, 80),
        ({"score_steps": 7}, 7),
        ({"score_steps": 0, "reconstruct": False}, 0),
    ],
)
def test_a_bare_cut_is_trained_before_it_is_scored(given: dict[str, Any], steps: int) -> None:
    assert Recovery(**given).steps_of_scores == steps
    assert Recovery(**given).of_scores().steps_of_scores == steps


def test_without_training_stages_on_the_same_samples_are_one() -> None:
    assert Recovery().looks == 2
    assert Recovery(score_steps=30).looks == 3
    assert Recovery(stages=((1 / 2, 1), (1, 1))).looks == 1


@pytest.mark.parametrize(
    ("given", "halved", "all_the_way"),
    [({}, 6, 3), ({"schedule": "progressive"}, 3, 3), ({"finalists": 5}, 5, 5)],
)
def test_there_are_fewer_finalists_where_all_go_all_the_way(
    given: dict[str, Any], halved: int, all_the_way: int
) -> None:
    recovery = Recovery(**given)
    assert recovery.finalists_if(halved=True) == halved
    assert recovery.finalists_if(halved=False) == all_the_way


def test_scores_know_nothing_of_what_holds_for_finalists() -> None:
    own = replace(
        USUAL, distill=1.0, distill_features=1.0, ema=0.9, patience=3, look_every=5, clip_norm=1.0
    )
    assert own.of_scores() == replace(USUAL, clip_norm=1.0, amp="none")
    assert replace(USUAL, amp="bfloat16").of_scores().amp == "bfloat16"


@pytest.mark.parametrize("steps", [30, -201])
def test_what_was_found_before_keeps_its_identity(steps: int) -> None:
    known = {
        30: "9521b622f15d1934e97670e58dd3105fa4dd9fccac91f609744572e5022a5e37",
        -201: "116c75ba14b8d40a33ef97924f43f8a27e057edc47dc29f91f8886710c5f5c26",
    }
    bare = replace(USUAL, reconstruct=False, score_by="loss")
    assert fingerprint_of(bare, steps, 0, None, "cpu") == known[steps]


@pytest.mark.parametrize(
    ("change", "of_scores", "of_finalists"),
    [
        ({"rate_schedule": "one-cycle"}, True, True),
        ({"clip_norm": 1.0}, True, True),
        ({"amp": "bfloat16"}, True, True),
        ({"amp": "none"}, False, True),
        ({"ema": 0.9}, False, True),
        ({"patience": 2}, False, True),
        ({"look_every": 5}, False, False),
        ({"distill_features": 1.0}, False, True),
        ({"distill_modules": ("a",)}, False, False),
        ({"distill_temperature": 4.0}, False, False),
        ({"finalists": 1, "stages": ()}, False, False),
        ({"reconstruct": False}, True, True),
    ],
)
def test_what_changes_an_identity(
    change: dict[str, Any], of_scores: bool, of_finalists: bool
) -> None:
    other = replace(USUAL, **change)
    for steps, changes in ((30, of_scores), (-201, of_finalists)):
        pair = {fingerprint_of(one, steps, 0, None, "cpu") for one in (USUAL, other)}
        assert len(pair) == 1 + changes


def test_what_auto_computes_in_is_part_of_the_identity_of_finalists(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = dict[int, list[str]]()
    for major in (6, 7, 9):  # no mixed precision, float16, bfloat16
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda at, m=major: (m, 0))
        found[major] = [fingerprint_of(USUAL, steps, 0, None, "cuda:0") for steps in (30, -201)]
    assert len({scores for scores, _ in found.values()}) == 1
    assert len({finalists for _, finalists in found.values()}) == 3
    assert found[6][1] == fingerprint_of(USUAL, -201, 0, None, "cpu")
    plain = replace(USUAL, amp="bfloat16")
    assert found[9][1] == fingerprint_of(plain, -201, 0, None, "cuda:0")
