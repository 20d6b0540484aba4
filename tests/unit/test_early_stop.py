"""Early stop: the best weights come back, and training is not touched by looking."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from autoprune.core.policy import Choice, Policy
from autoprune.core.recovery import Recovery
from autoprune.core.stages import Stage
from autoprune.evaluation.measuring.measure import Measurement, measure
from autoprune.evaluation.scoring.candidate import Candidate
from autoprune.evaluation.scoring.scorer import Scorer
from autoprune.evaluation.training.patience import Patience

POLICY = Policy({"stem": Choice("channel.l1", 0.75)})
RECOVERY = Recovery(
    calibration_batches=2, learning_rate=0.05, patience=99, look_every=4, reconstruct=False
)


@pytest.fixture
def scorer(scorer_of: Callable[[Recovery], Scorer]) -> Scorer:
    return scorer_of(RECOVERY)


def looking(scorer: Scorer, steps: int = 30, **change: float) -> Candidate:
    own = replace(scorer, recovery=replace(scorer.recovery, **change))  # type: ignore[arg-type]
    return own.candidate(POLICY, steps, final=True)


def worth(found: Measurement) -> tuple[float, float]:
    return -found.quality, found.loss


class Worth:
    """A reading with a known outcome."""

    def __init__(self, quality: float, loss: float) -> None:
        self._found = Measurement(loss, quality, 1, loss)

    def found(self) -> Measurement:
        return self._found

    def stage(self, steps: int) -> Stage:
        return Stage(steps, 1, self._found.loss, (), self._found.quality)


def test_quality_decides_then_loss_and_ties_are_in_vain() -> None:
    model, stop = nn.Linear(1, 1), Patience(5, 3, 100)
    script = [(0.5, 1.0), (0.6, 2.0), (0.6, 1.5), (0.6, 1.5), (0.5, 0.1), (0.4, 0.1)]
    over = []
    for at, (quality, loss) in enumerate(script):
        with torch.no_grad():
            model.weight.fill_(at)
        stop.look(5 * at, Worth(quality, loss), model)  # type: ignore[arg-type]
        over.append(stop.over)
    assert over == [False] * 5 + [True]
    assert stop.best is not None
    assert stop.best.found() == Measurement(1.5, 0.6, 1, 1.5)
    assert stop.of_best(model).get_parameter("weight").item() == 2
    assert model.weight.item() == 5, "what is trained on is left alone"


@pytest.mark.parametrize(
    ("looked", "steps", "expected"),
    [
        *((None, 9, [4, 8]), (None, 10, [4, 8, 10]), (4, 10, [8, 10]), (4, 7, [])),
        *((10, 10, []), (None, 3, []), (8, 9, [])),
    ],
)
def test_where_it_looks(looked: int | None, steps: int, expected: list[int]) -> None:
    stop = Patience(4, 1, 10)
    if looked is not None:
        stop.look(looked, Worth(0.5, 1.0), nn.Linear(1, 1))  # type: ignore[arg-type]
    assert stop.aims(steps) == expected


def test_without_steps_there_is_one_look() -> None:
    stop = Patience(4, 1, 0)
    assert stop.aims(0) == [0]
    stop.look(0, Worth(0.5, 1.0), nn.Linear(1, 1))  # type: ignore[arg-type]
    assert stop.aims(0) == []


@pytest.mark.parametrize("patience", [1, 2, 99])
@pytest.mark.parametrize("rate", [0.05, 1.0])
def test_pauses_on_the_way_change_nothing(scorer: Scorer, patience: int, rate: float) -> None:
    straight = looking(scorer, patience=patience, learning_rate=rate, momentum=0.0)
    pausing = looking(scorer, patience=patience, learning_rate=rate, momentum=0.0)
    for steps in (1, 3, 7, 13, 14, 22):
        pausing.reach(steps)
    assert pausing.reach(30) == straight.reach(30)
    assert pausing.training.done == straight.training.done
    ours, theirs = pausing.model.state_dict(), straight.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_the_best_weights_are_measured_and_kept(scorer: Scorer) -> None:
    candidate = looking(scorer, learning_rate=1.0, momentum=0.0)  # it overshoots
    found = candidate.reach(30)
    plain = looking(scorer, learning_rate=1.0, momentum=0.0, patience=0)
    alone = {steps: plain.reach(steps) for steps in (*range(4, 30, 4), 30)}
    best = min(alone.values(), key=worth)
    assert found == best
    assert worth(found) < worth(alone[30]), "or this tests nothing"
    assert measure(candidate.model, scorer.task, "search", "cpu").loss == found.loss
    assert not candidate.model.training


def test_looking_changes_nothing_of_training(scorer: Scorer) -> None:
    candidate, plain = looking(scorer), looking(scorer, patience=0)
    candidate.reach(13), candidate.reach(30), plain.reach(30)
    ours, theirs = (one.training.kept.state_dict() for one in (candidate, plain))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_patience_ends_training_and_counts_what_it_cost(scorer: Scorer) -> None:
    candidate = looking(scorer, patience=2, learning_rate=1e-9)  # nothing ever gets better
    candidate.reach(20)
    done = candidate.training.done
    assert done < 20
    spent, found = candidate.sample_forwards, candidate.reach(30)
    assert candidate.training.done == done
    assert candidate.sample_forwards == spent
    assert [stage.steps for stage in candidate.stages] == [20, 30]
    assert candidate.stages[0].value == candidate.stages[1].value == found.loss
    looks = done // 4
    share = candidate.share
    first = looking(scorer, patience=2, learning_rate=1e-9).sample_forwards
    taught = 8 * done  # by the dense model
    assert spent == pytest.approx(first + share * (3 * 8 * done + 24 * looks) + taught)


def test_without_steps_it_looks_once(scorer: Scorer) -> None:
    candidate, plain = looking(scorer, steps=0), looking(scorer, steps=0, patience=0)
    assert candidate.reach(0) == plain.reach(0)
    assert candidate.reach(0) == plain.reach(0)


def test_the_average_is_what_is_looked_at(scorer: Scorer) -> None:
    candidate = looking(scorer, ema=0.9)
    found = candidate.reach(12)
    assert measure(candidate.model, scorer.task, "search", "cpu").loss == found.loss
    assert looking(scorer).reach(12) != found


def test_scores_are_not_stopped_by_it(scorer: Scorer) -> None:
    assert scorer.candidate(POLICY, 4).early_stop is None
