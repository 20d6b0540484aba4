"""A score in stages: it may rest after each, go on in another process, or be ended there."""

import math
import pickle
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from autoprune.agent.evaluating.scoring import ScoreWork, Scoring
from autoprune.core.policy import Choice, Policy
from autoprune.core.recovery import Recovery
from autoprune.core.staged import Interim, StagedWork
from autoprune.cost.model import CostModel
from autoprune.errors import DataError
from autoprune.evaluation.pruning.importance import rank_atoms
from autoprune.evaluation.scoring.scorer import Scorer
from autoprune.storage.records import Evaluation
from autoprune.surgery.plan import Plan
from autoprune.tasks import Classification
from autoprune.tasks.base import SPLITS

POLICY = Policy({"stem": Choice("channel.l1", 0.5)})
JOB = Scoring(POLICY, watch=lambda stages: "never asked")
WHO = "Ray Tune's asha"


@pytest.fixture
def work(net: nn.Module, plan: Plan, cost: CostModel, task: Classification) -> ScoreWork:
    importance = rank_atoms(net, plan, task, ["channel.l1"], 1, "cpu")
    recovery = Recovery(score_steps=4, calibration_batches=2)
    return ScoreWork(Scorer(net, plan, importance, cost, task, recovery, 0, "cpu"))


def whole(work: ScoreWork) -> Evaluation:
    return work(Scoring(POLICY, watch=lambda stages: None))


def walked(work: ScoreWork, rests: bool) -> list[Interim[Evaluation]]:
    """Return what a score comes to at each stage; in another process each time, if it rests."""
    course, found = work.begin(JOB, WHO), list[Interim[Evaluation]]()
    while not (found and found[-1].over):
        torch.rand(7)  # others compute in between
        found.append(course.advance())
        if rests and not found[-1].over:
            state: dict[str, Any] = pickle.loads(pickle.dumps(course.state_dict()))
            course = work.begin(JOB, WHO, state)
    return found


@pytest.mark.parametrize("rests", [False, True], ids=["in one go", "with rests"])
def test_a_score_in_stages_is_the_score_in_one_go(work: ScoreWork, rests: bool) -> None:
    assert isinstance(work, StagedWork)
    found = walked(work, rests)
    assert [one.over for one in found] == [False] * (work.stages - 1) + [True]
    assert work.stages == 3
    last, plain = found[-1].result, whole(work)
    assert last.outcome == "scored"
    assert (last.score, last.quality, last.stages) == (plain.score, plain.quality, plain.stages)
    assert [one.value for one in found] == [stage.value for stage in plain.stages]


def test_a_rest_costs_what_is_measured_again(work: ScoreWork) -> None:
    plain = whole(work)
    assert walked(work, rests=False)[-1].result.sample_forwards == plain.sample_forwards
    again = plain.stages[1].samples * work.scorer.share(POLICY)  # the quarter of the split
    rested = walked(work, rests=True)[-1].result
    assert rested.sample_forwards == pytest.approx(plain.sample_forwards + again)


def test_what_is_ended_after_a_stage_says_who_did_it_and_what_it_had(work: ScoreWork) -> None:
    plain = whole(work)
    for at, one in enumerate(walked(work, rests=False)[:-1], 1):
        ended = one.result
        assert ended.outcome == f"stopped: early stop, Ray Tune's asha after {at} of 3 stages"
        assert (ended.score, ended.loss, ended.quality) == (None, None, None)
        assert ended.stages == plain.stages[:at]
        assert 0 < ended.sample_forwards < plain.sample_forwards


def test_what_fails_is_over_and_a_loader_that_fails_is_not_the_policys_fault(
    work: ScoreWork,
) -> None:
    worse = replace(work.scorer, recovery=replace(work.scorer.recovery, learning_rate=1e9))
    (failed,) = walked(ScoreWork(worse), rests=False)
    assert failed.over
    assert math.isnan(failed.value)
    assert failed.result.outcome.startswith("failed: CandidateError: The loss on the search")
    broken = Classification({split: [("odd",)] for split in SPLITS})
    course = ScoreWork(replace(work.scorer, task=broken)).begin(JOB, WHO)
    with pytest.raises(DataError):
        course.advance()
