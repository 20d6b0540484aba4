"""Successive halving: less training, the same numbers, and nothing lost when it is cut."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from autoprune.agent.evaluating.evaluations import Evaluations
from autoprune.agent.evaluating.finalist import Finalist, undone
from autoprune.agent.finalists import race
from autoprune.agent.finalists.race import recover_finalists, rungs
from autoprune.agent.finalists.side_by_side import in_turn
from autoprune.agent.preparing.prepare import check_recover
from autoprune.core.policy import Choice, Policy
from autoprune.core.progress import Progress, silent
from autoprune.core.recover_function import RecoverFunction
from autoprune.core.recovery import Recovery
from autoprune.core.stages import Stage
from autoprune.errors import CandidateError, ConfigError, ModelError
from autoprune.evaluation.distillation.distill import Distillation
from autoprune.evaluation.scoring.scorer import Scorer
from autoprune.evaluation.training.fine_tune import FineTuning, fine_tune
from autoprune.storage.records import Evaluation
from autoprune.tasks import Classification
from autoprune.tasks.base import SPLITS

POLICIES = [Policy({"stem": Choice("channel.l1", at / 8)}) for at in range(1, 6)]
RECOVERY = Recovery(score_steps=0, recover_steps=8, finalists=4, calibration_batches=1)


@pytest.fixture
def evaluations(
    scorer_of: Callable[[Recovery], Scorer], evaluations_by: Callable[[Scorer], Evaluations]
) -> Evaluations:
    return evaluations_by(scorer_of(RECOVERY))


@pytest.fixture
def ranked(evaluations: Evaluations) -> list[Evaluation]:
    return [evaluations.score(policy) for policy in POLICIES]


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets an entry for each training step."""
    taken: list[int] = []
    step = FineTuning._step

    def counted(self: FineTuning, batch: Any) -> None:
        step(self, batch)
        taken.append(self.done)

    monkeypatch.setattr(FineTuning, "_step", counted)
    return taken


def with_recovery(evaluations: Evaluations, **change: Any) -> Evaluations:
    recovery = replace(evaluations.scorer.recovery, **change)
    return replace(evaluations, scorer=replace(evaluations.scorer, recovery=recovery))


def trained(evaluations: Evaluations) -> list[Evaluation]:
    """Return what is kept of the finalists, in the order of their policies."""
    known = (evaluations.finalist(policy).known for policy in POLICIES)
    return [one for one in known if one is not None]


def lasting(evaluation: Evaluation) -> Evaluation:
    return replace(evaluation, seconds=0.0)


@pytest.mark.parametrize(
    ("total", "finalists", "expected"),
    [
        (200, 1, [200]),
        (200, 2, [100, 200]),
        (200, 3, [50, 100, 200]),
        (200, 4, [50, 100, 200]),
        (200, 5, [25, 50, 100, 200]),
        (1, 4, [1]),
        (2, 4, [1, 2]),
        (0, 4, [0]),
    ],
)
def test_rungs_halve_to_the_first(total: int, finalists: int, expected: list[int]) -> None:
    assert rungs(total, finalists) == expected


def test_halving_trains_half_as_much(
    evaluations: Evaluations, ranked: list[Evaluation], steps: list[int]
) -> None:
    model, winner = recover_finalists(ranked, evaluations, silent)
    found = trained(evaluations)
    assert len(steps) == 4 * 2 + 2 * 2 + 1 * 4, "of 32 without halving"
    assert [one.policy for one in found] == POLICIES[:4]
    outcomes = sorted(one.outcome for one in found)
    assert outcomes == [
        *["outrun: early stop after 2 of 8 steps"] * 2,
        *("outrun: early stop after 4 of 8 steps", "recovered"),
    ]
    assert sum(one.sample_forwards for one in found) > winner.sample_forwards
    assert not model.training


def test_the_winner_is_trained_as_if_it_ran_alone(
    evaluations: Evaluations, ranked: list[Evaluation]
) -> None:
    model, winner = recover_finalists(ranked, evaluations, silent)
    candidate = evaluations.scorer.candidate(winner.policy, 8, final=True)
    found = candidate.reach(8)
    assert (found.loss, found.quality) == (winner.loss, winner.quality)
    state = model.state_dict()
    alone = candidate.model.state_dict()
    assert all(torch.equal(state[name], alone[name]) for name in alone)


def test_time_left_is_that_of_training_not_of_who_waits_in_line(
    evaluations: Evaluations, ranked: list[Evaluation], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, told = [0.0], list[Progress]()
    monkeypatch.setattr(race, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    def measured() -> Iterator[Evaluation]:
        clock[0] += 600.0  # as the pairs of a latency limit are
        yield from ranked

    def advance(finalists: Any, steps: int) -> Iterator[Any]:
        for arrival in in_turn(finalists, steps):
            clock[0] += 2.0
            yield arrival

    recover_finalists(measured(), evaluations, told.append, advance=advance)
    assert [one.seconds_left for one in told] == [2.0 * left for left in (6, 5, 4, 3, 2, 1, 0)]


def test_a_single_finalist_is_not_halved(
    evaluations: Evaluations, ranked: list[Evaluation], steps: list[int]
) -> None:
    own = with_recovery(evaluations, finalists=1)
    winner = recover_finalists(ranked, own, silent)[1]
    assert (trained(own), winner.policy, len(steps)) == ([winner], POLICIES[0], 8)


def test_without_training_the_best_is_found_all_the_same(
    evaluations: Evaluations, ranked: list[Evaluation], steps: list[int]
) -> None:
    own = with_recovery(evaluations, recover_steps=0)
    winner = recover_finalists(ranked, own, silent)[1]
    best = max(ranked[:4], key=lambda one: (one.quality or 0.0, -(one.loss or 0.0)))
    assert (winner.policy, len(trained(own)), steps) == (best.policy, 4, [])


def test_quality_decides_and_then_the_loss(
    evaluations: Evaluations, ranked: list[Evaluation], monkeypatch: pytest.MonkeyPatch
) -> None:
    worth = dict(zip(POLICIES, [(0.6, 0.1), (0.9, 0.5), (0.9, 0.4), (0.7, 0.2)], strict=False))
    reach = Finalist.reach

    def told(self: Finalist, steps: int) -> Stage:
        quality, value = worth[self.policy]
        return replace(reach(self, steps), quality=quality, value=value)

    monkeypatch.setattr(Finalist, "reach", told)
    winner = recover_finalists(ranked, evaluations, silent)[1]
    assert winner.policy == POLICIES[2]
    gone = [one.policy for one in trained(evaluations) if "2 of 8" in one.outcome]
    assert gone == [POLICIES[0], POLICIES[3]]


def test_what_is_over_is_not_done_again(
    evaluations: Evaluations, ranked: list[Evaluation], steps: list[int]
) -> None:
    winner = recover_finalists(ranked, evaluations, silent)[1]
    found = trained(evaluations)
    steps.clear()
    again = recover_finalists(ranked, evaluations, silent)[1]
    assert steps == []
    assert (again, trained(evaluations)) == (winner, found)


@pytest.mark.parametrize("kill", [1, 5, 8, 10, 12, 15])
def test_a_race_that_is_cut_ends_as_if_nobody_had_cut_it(
    evaluations: Evaluations,
    ranked: list[Evaluation],
    steps: list[int],
    monkeypatch: pytest.MonkeyPatch,
    kill: int,
) -> None:
    whole = replace(evaluations, data_fp="other")
    recover_finalists(ranked, whole, silent)
    steps.clear()
    step = FineTuning._step

    def until(self: FineTuning, batch: Any) -> None:
        if len(steps) == kill:
            raise KeyboardInterrupt
        step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(FineTuning, "_step", until)
        with pytest.raises(KeyboardInterrupt):
            recover_finalists(ranked, evaluations, silent)
    winner = recover_finalists(ranked, evaluations, silent)[1]
    assert list(map(lasting, trained(evaluations))) == list(map(lasting, trained(whole)))
    assert winner.outcome == "recovered"


def test_where_the_winner_is_refused_the_one_that_got_furthest_follows(
    evaluations: Evaluations, ranked: list[Evaluation], steps: list[int]
) -> None:
    order: list[Policy] = []

    def accepts(found: Evaluation, model: nn.Module) -> bool:
        order.append(found.policy)
        return len(order) == 5

    winner = recover_finalists(ranked, evaluations, silent, accepts)[1]
    assert winner.policy == order[-1] == POLICIES[4], "the next in line is last"
    assert len(order) == len(set(map(str, order))) == len(trained(evaluations)) == 5
    assert len(steps) == 5 * 8, "each goes on where it was"
    whole = replace(evaluations, data_fp="other")
    assert order[0] == recover_finalists(ranked, whole, silent)[1].policy
    furthest = {one.policy.fingerprint: len(one.stages) for one in trained(whole)}
    assert [furthest[policy.fingerprint] for policy in order[:4]] == [3, 2, 1, 1]


def test_who_diverges_on_the_way_leaves_the_race(
    evaluations: Evaluations, ranked: list[Evaluation], monkeypatch: pytest.MonkeyPatch
) -> None:
    winner = recover_finalists(ranked, replace(evaluations, data_fp="other"), silent)[1]
    advance = FineTuning.advance
    model_of: Callable[[Policy], Any] = evaluations.scorer.kept

    def diverging(self: FineTuning, to: int) -> int:
        kept = self._model.get_parameter("stem.weight").shape[0]
        if to == 8 and kept == model_of(winner.policy)["stem"]:
            raise CandidateError("It diverged.")
        return advance(self, to)

    monkeypatch.setattr(FineTuning, "advance", diverging)
    other = recover_finalists(ranked, evaluations, silent)[1]
    assert other.policy != winner.policy
    assert len(trained(evaluations)) == 4


def test_who_cannot_be_trained_has_cost_what_it_has(
    evaluations: Evaluations, ranked: list[Evaluation], monkeypatch: pytest.MonkeyPatch
) -> None:
    advance = FineTuning.advance

    def diverging(self: FineTuning, to: int) -> int:
        advance(self, to)
        raise CandidateError("It diverged.")

    monkeypatch.setattr(FineTuning, "advance", diverging)
    with pytest.raises(ModelError, match=f"None of the {len(ranked)} .* It diverged"):
        recover_finalists(ranked, evaluations, silent)
    gone = evaluations.finalists()
    assert {one.outcome for one in gone} == {"outrun: It diverged."}
    assert {one.policy for one in gone} == {one.policy for one in ranked}
    assert all(one.sample_forwards > 0 and one.seconds > 0 for one in gone)


# --- distillation


def test_distillation_draws_outputs_to_the_dense_models(evaluations: Evaluations) -> None:
    def divergence_after(weight: float) -> float:
        recovery = {"distill": weight, "recover_steps": 30, "score_by": "kl"}
        scorer = with_recovery(evaluations, **recovery).scorer
        candidate = scorer.candidate(POLICIES[3], 30, final=True)
        candidate.reach(30)
        reading = scorer.search_split.reading()
        scorer.search_split.extend(reading, candidate.model, 1.0)
        return reading.found().score

    assert divergence_after(1.0) < 0.9 * divergence_after(0.0)


def test_the_teacher_is_counted_and_left_alone(evaluations: Evaluations) -> None:
    before = {n: t.clone() for n, t in evaluations.scorer.model.state_dict().items()}
    costs = []
    for weight in (0.0, 1.0):
        candidate = with_recovery(evaluations, distill=weight).scorer.candidate(
            POLICIES[0], 8, final=True
        )
        candidate.reach(8)
        costs.append(candidate.sample_forwards)
    assert costs[1] - costs[0] == pytest.approx(8 * 8)  # 8 steps of 8 samples, once each
    after = evaluations.scorer.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_distillation_is_for_finalists_alone(evaluations: Evaluations) -> None:
    own, none = (with_recovery(evaluations, distill=share) for share in (1.0, 0.0))
    assert own.scorer.fingerprint(8) == none.scorer.fingerprint(8)
    assert own.scorer.fingerprint(-9) != none.scorer.fingerprint(-9)
    warmer = with_recovery(evaluations, distill=0.0, distill_temperature=4.0)
    assert warmer.scorer.fingerprint(-9) == none.scorer.fingerprint(-9)
    assert own.score(POLICIES[0]) == none.score(POLICIES[0])


def test_finalists_learn_from_the_dense_model_unasked_in_classification_alone(
    evaluations: Evaluations,
) -> None:
    class Mine(Classification):
        pass

    task = evaluations.scorer.task
    mine = Mine({split: task.loader(split) for split in SPLITS})
    half = with_recovery(evaluations, distill=0.5).scorer
    assert evaluations.scorer.distill == half.distill
    assert evaluations.scorer.fingerprint(-9) == half.fingerprint(-9)
    assert replace(evaluations.scorer, task=mine).distill == 0.0
    assert replace(half, task=mine).distill == 0.5


def test_who_trains_finalists_himself_has_nothing_distilled(evaluations: Evaluations) -> None:
    def mine(model: nn.Module, epochs: int) -> None: ...

    recover = RecoverFunction.of(mine)
    own = replace(evaluations.scorer, recover=recover)
    none = replace(with_recovery(evaluations, distill=0.0).scorer, recover=recover)
    assert own.distill == 0.0
    assert own.fingerprint(-9) == none.fingerprint(-9)
    request: Any = SimpleNamespace(recovery=none.recovery, recover=recover, device="cpu")
    check_recover(request)  # 0 is what it comes to


def test_a_share_of_what_is_learned_is_taken_from_the_own_loss(
    net: nn.Module, task: Classification
) -> None:
    batch = next(iter(task.batches("train")))
    outputs = 2 * net.eval()(batch[0]).detach()
    whole, none, half = (
        Distillation(net, task, Recovery(distill=share)).loss(outputs, batch)
        for share in (1.0, 0.0, 0.5)
    )
    assert none == task.loss(outputs, batch)
    assert whole > 0
    others = (batch[0], torch.zeros_like(batch[1]))
    assert task.loss(outputs, others) != none
    teaching = Distillation(net, task, Recovery(distill=1.0))
    assert teaching.loss(outputs, others) == whole, "nothing is left of the labels"
    assert half == pytest.approx(float(whole + none) / 2)


def test_a_task_without_logits_cannot_be_distilled(net: nn.Module, task: Classification) -> None:
    class Bare:
        name, metric_name, forwards = "bare", "none", 1
        higher_is_better = is_share = has_loss = one_forward = True
        protect = task.protect
        settings = task.settings
        batches, loader, inputs = task.batches, task.loader, task.inputs
        samples, loss, metric = task.samples, task.loss, task.metric
        check_outputs, outputs = task.check_outputs, task.outputs
        trace_inputs = task.trace_inputs

    recovery = Recovery(distill=1.0)
    with pytest.raises(ConfigError, match=r"recovery.distill compares.*'bare'.*logits"):
        fine_tune(net, Bare(), 1, recovery, "cpu", teacher=net)


@pytest.mark.parametrize("wrong", [{"distill": -1.0}, {"distill_temperature": 0.5}])
def test_distillation_settings_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Recovery(**wrong)  # type: ignore[arg-type]


@pytest.fixture
def learned(evaluations: Evaluations) -> Evaluations:
    """Return the evaluations of a dense model that was trained, before anything is scored."""
    scorer = evaluations.scorer
    fine_tune(scorer.model, scorer.task, 60, Recovery(distill=0.0), "cpu")
    return evaluations


@pytest.fixture
def ruined(learned: Evaluations, monkeypatch: pytest.MonkeyPatch) -> Evaluations:
    """Return the evaluations of a trained model, each further step of which ruins a model."""
    step = FineTuning._step

    def ruining(self: FineTuning, batch: Any) -> None:
        step(self, batch)
        with torch.no_grad():
            for weights in self._model.parameters():
                weights.zero_()

    monkeypatch.setattr(FineTuning, "_step", ruining)
    return learned


def test_a_finalist_that_training_ruins_is_kept_as_it_was_cut(ruined: Evaluations) -> None:
    model, found = ruined.finalist(POLICIES[0]).finish()
    cut = ruined.scorer.candidate(POLICIES[0], 8, final=True)
    assert found.quality == cut.reach(0).quality > 0.5
    assert found.loss == cut.reach(0).loss
    assert all(map(torch.equal, model.state_dict().values(), cut.model.state_dict().values()))
    trained = undone(found)
    assert trained is not None
    assert trained.steps == 8
    assert (trained.quality or 0.0) <= 0.5
    again, stored = ruined.finalist(POLICIES[0]).finish()
    assert stored == found
    assert all(map(torch.equal, again.state_dict().values(), cut.model.state_dict().values()))


def test_where_training_ruins_all_the_best_of_them_as_cut_wins(ruined: Evaluations) -> None:
    ranks = {p: ruined.finalist(p).as_cut().stages[0].rank for p in POLICIES[:4]}
    best, *others = sorted(ranks, key=lambda one: ranks[one])
    line = [Evaluation(one, "scored", 1.0, 0.5, 0.0, 0.0) for one in [*others, best]]
    model, found = recover_finalists(line, ruined, silent)
    assert found.policy == best
    assert undone(found) is not None
    cut = ruined.scorer.candidate(found.policy, 8, final=True).model
    assert all(map(torch.equal, model.state_dict().values(), cut.state_dict().values()))
    assert recover_finalists(line, ruined, silent)[1] == found


def test_a_finalist_that_training_helps_is_kept_as_it_was_trained(learned: Evaluations) -> None:
    _, found = learned.finalist(POLICIES[3]).finish()
    assert undone(found) is None
    assert [one.steps for one in found.stages] == [8]


def test_without_training_nothing_is_undone(learned: Evaluations) -> None:
    bare = with_recovery(learned, recover_steps=0)
    _, found = bare.finalist(POLICIES[0]).finish()
    assert undone(found) is None
    assert found.sample_forwards == bare.scorer.candidate(
        POLICIES[0], 0, final=True
    ).sample_forwards + 24 * bare.scorer.share(POLICIES[0])
