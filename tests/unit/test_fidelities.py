"""What ranks candidates, and measuring on the way without leaving a trace."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from autoprune.core.policy import Choice, Policy
from autoprune.core.recovery import Recovery
from autoprune.cost.model import CostModel
from autoprune.errors import CandidateError, ConfigError
from autoprune.evaluation.measuring.divergence import divergence
from autoprune.evaluation.measuring.measure import Reading
from autoprune.evaluation.pruning.importance import rank_atoms
from autoprune.evaluation.scoring.scorer import Scorer
from autoprune.surgery.discover import discover
from autoprune.tasks import Classification, Task, create_task, need_logits

POLICY = Policy({"stem": Choice("channel.l1", 0.5)})
RECOVERY = Recovery(calibration_batches=2, learning_rate=0.1, reconstruct=False)


def shuffled(seed: int, samples: int, workers: int = 0) -> DataLoader[Any]:
    rng = torch.Generator().manual_seed(seed)
    classes = torch.randint(3, (samples,), generator=rng)
    images = torch.randn(samples, 1, 6, 6, generator=rng) + classes.reshape(-1, 1, 1, 1)
    return DataLoader(
        TensorDataset(images, classes),
        8,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )


@pytest.fixture
def scorer(net: nn.Module) -> Scorer:
    """Return a scorer whose loaders shuffle, and whose model draws in training."""
    net.add_module("head", nn.Sequential(nn.Dropout(0.3), net.get_submodule("head")))
    plan = discover(net.eval(), [torch.randn(2, 1, 6, 6)], np.random.default_rng(0))
    cost = CostModel(net, plan)
    task = Classification({"train": shuffled(1, 44), "search": shuffled(2, 60), "test": []})
    importance = rank_atoms(net, plan, task, ["channel.l1"], 1, "cpu")
    return Scorer(net, plan, importance, cost, task, RECOVERY, seed=0, device="cpu")


def by(scorer: Scorer, score_by: Any) -> Scorer:
    return replace(scorer, recovery=replace(scorer.recovery, score_by=score_by))


# --- scores


def test_classification_is_scored_by_divergence_and_other_tasks_by_loss(scorer: Scorer) -> None:
    assert (scorer.recovery.score_by, scorer.score_by) == (None, "kl")
    assert by(scorer, "metric").score_by == "metric"
    data = {"train": shuffled(1, 44), "search": shuffled(2, 60), "test": []}
    other = create_task("segmentation", data)
    assert replace(scorer, task=other).score_by == "loss"
    own = type("Own", (Classification,), {})(data)  # whose outputs may be anything
    assert replace(scorer, task=own).score_by == "loss"
    same = by(scorer, "kl")
    assert scorer.fingerprint(3) == same.fingerprint(3) != by(scorer, "loss").fingerprint(3)


def test_the_divergence_is_that_of_the_formula() -> None:
    ours, dense = torch.tensor([[0.0, 1.0], [2.0, 0.0]]), torch.tensor([[1.0, 0.0], [2.0, 0.0]])
    sigmoid = 1 / (1 + np.exp(-1.0))
    first = sigmoid * np.log(sigmoid / (1 - sigmoid)) + (1 - sigmoid) * np.log(
        (1 - sigmoid) / sigmoid
    )
    assert float(divergence(ours, dense)) == pytest.approx(first / 2)
    assert float(divergence(dense, dense)) == pytest.approx(0, abs=1e-7)
    assert float(divergence(2 * ours, 2 * dense, 2.0)) == pytest.approx(4 * first / 2)


def test_scores_are_lower_for_the_better_whatever_they_are_made_of(scorer: Scorer) -> None:
    score = by(scorer, "loss").score(POLICY, 3)[1]
    assert score.score == score.loss
    metric = by(scorer, "metric").score(POLICY, 3)[1]
    assert metric.score == -(metric.quality or 0.0)
    assert (metric.loss, metric.quality) == (score.loss, score.quality)


def test_what_is_trained_on_its_way_is_compared_by_loss_unless_told_otherwise(
    scorer: Scorer,
) -> None:
    found = {}
    for asked in (None, "kl"):
        split = by(scorer, asked).trained_split
        reading = split.reading()
        split.extend(reading, scorer.model, 1.0)
        found[asked] = reading.found()
    assert found[None].score == found[None].loss > 0.1
    assert 0 <= found["kl"].score < 1e-6, "rounding makes no score negative"


def test_the_dense_model_diverges_from_itself_by_nothing(scorer: Scorer) -> None:
    scorer = by(scorer, "kl")
    dense = scorer.search_split.reading()
    scorer.search_split.extend(dense, scorer.model, 1.0)
    assert dense.found().score == pytest.approx(0, abs=1e-7)
    pruned, score = scorer.score(POLICY, 0)
    assert score.score is not None
    assert score.score > 1e-3
    images, dense_logits, logits = [], [], []
    for batch in scorer.task.batches("search"):  # in any order: the mean is the same
        images.append(batch[0])
    with torch.no_grad():
        for batch in images:
            dense_logits.append(scorer.model.eval()(batch))
            logits.append(pruned(batch))
    by_hand = divergence(torch.cat(logits), torch.cat(dense_logits))
    assert score.score == pytest.approx(float(by_hand), rel=1e-5)


def test_a_task_without_logits_says_what_it_lacks() -> None:
    task = cast(Task, SimpleNamespace(name="mine"))
    with pytest.raises(ConfigError, match=r"score_by 'kl' .*'mine'.*logits\(outputs\)"):
        need_logits(task, "recovery.score_by 'kl'")


def test_an_unknown_score_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"score_by must be one of loss, metric, kl. Got 'x'"):
        Recovery(score_by="x")  # type: ignore[arg-type]


def test_a_score_that_is_no_number_fails_the_candidate() -> None:
    class Odd:
        def update(self, outputs: Any, batch: Any) -> None: ...

        def compute(self) -> float:
            return float("nan")

    task = Classification({split: [] for split in ("train", "search", "test")})
    task.metric = Odd  # type: ignore[method-assign, assignment]
    reading = Reading(task, "search", "metric")
    reading.add(torch.zeros(1, 2), (None, torch.tensor([0])))
    with pytest.raises(CandidateError, match="metric on the search split is nan"):
        reading.found()


# --- stages


def state(model: nn.Module) -> list[Tensor]:
    return [tensor.clone() for tensor in model.state_dict().values()]


@pytest.mark.parametrize("score_by", ["loss", "metric", "kl"])
@pytest.mark.parametrize("parts", [[(3, 0.25), (9, 0.25), (9, 1.0)], [(1, 1.0), (9, 0.5), (9, 1)]])
def test_what_comes_out_does_not_depend_on_the_stages(
    scorer: Scorer, score_by: str, parts: list[tuple[int, float]]
) -> None:
    scorer = by(scorer, score_by)
    whole = scorer.candidate(POLICY, 9)
    once = whole.reach(9)
    staged = scorer.candidate(POLICY, 9)
    torch.rand(7)  # what others draw does not matter
    for part in parts:
        found = staged.reach(*part)
    assert found == once
    assert staged.stages[-1] == whole.stages[-1]
    assert all(map(torch.equal, state(whole.model), state(staged.model)))
    assert [stage.steps for stage in staged.stages] == [steps for steps, _ in parts]


@pytest.mark.slow
def test_workers_that_persist_go_on_where_they_were(scorer: Scorer) -> None:
    loaders = {"train": shuffled(1, 44, workers=1), "search": shuffled(2, 60), "test": []}
    scorer = replace(scorer, task=Classification(loaders))
    one, other = scorer.candidate(POLICY, 9), scorer.candidate(POLICY, 9)
    for steps in (2, 4, 9):  # in turn
        assert one.reach(steps) == other.reach(steps)
    assert scorer.candidate(POLICY, 9).reach(9) == one.reach(9)


def test_batches_already_measured_are_not_measured_again(scorer: Scorer) -> None:
    candidate = scorer.candidate(POLICY, 2)
    shares, spent = [], [candidate.sample_forwards]
    for steps, share in [(1, 0.25), (2, 0.25), (2, 1.0)]:
        candidate.reach(steps, share)
        spent.append(candidate.sample_forwards)
        shares.append(candidate.stages[-1].samples)
    assert shares == [16, 16, 60]  # 8 batches of 8, the last of 4
    costs = np.diff(spent) / candidate.share
    assert costs == pytest.approx([3 * 8 + 16, 3 * 8 + 16, 44])


def test_the_values_of_batches_have_the_score_as_their_mean(scorer: Scorer) -> None:
    candidate = scorer.candidate(POLICY, 0)
    found = candidate.reach(0)
    (stage,) = candidate.stages
    assert len(stage.values) == 8
    assert np.mean(stage.values) == pytest.approx(found.score, rel=1e-5)
    assert stage.value == found.score
    assert all(value == float(f"{value:.6g}") for value in stage.values)


# --- settings


@pytest.mark.parametrize(
    "stages",
    [
        [[0.5, 0.5]],
        [[0.0, 0.5], [1, 1]],
        [[0.5, 1.1], [1, 1]],
        [[0.5, 0.5], [0.4, 1], [1, 1]],
        [[0.5, 0.5], [0.6, 0.4], [1, 1]],
        [[0.5], [1, 1]],
        [[True, 1], [1, 1]],
        [["a", 1], [1, 1]],
        0.5,
    ],
)
def test_stages_that_make_no_sense_are_refused(stages: Any) -> None:
    with pytest.raises(ConfigError, match=r"recovery.stages must be pairs .*Got .*or \[\] for no"):
        Recovery(stages=stages)


def test_no_stages_are_one_at_the_end() -> None:
    assert Recovery(stages=()).stages == Recovery(stages=((1, 1),)).stages == ((1.0, 1.0),)
    fine: Any = [[0.5, 0.25], [1, 1]]
    assert Recovery(stages=fine).stages == ((0.5, 0.25), (1.0, 1.0))


def test_stages_are_no_part_of_what_a_score_is(scorer: Scorer) -> None:
    def told(stages: Any, steps: int = 6) -> tuple[list[tuple[int, int]], Any]:
        own = replace(scorer, recovery=replace(scorer.recovery, stages=stages))
        seen: list[tuple[int, int]] = []
        score = own.score(POLICY, steps, lambda found: seen.append(found[-1].place))[1]
        assert own.fingerprint(6) == scorer.fingerprint(6)
        return seen, (score.loss, score.quality, score.score, score.stages[-1])

    seen, staged = told(((1 / 3, 1 / 4), (1, 1 / 4), (1, 1)))
    assert seen == [(2, 16), (6, 16)]
    assert told(()) == ([], staged)
    assert told(((0.5, 0.25), (0.51, 0.25), (1, 0.99), (1, 1)))[0] == [(3, 16)], "none is alike"
    assert told(((1 / 3, 1 / 4), (1, 1 / 4), (1, 1)), steps=0)[0] == [(0, 16)]
