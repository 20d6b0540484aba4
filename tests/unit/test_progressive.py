"""Progressive runs: legs, the way to a target, and a run that falls, turns back and is killed."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from autoprune.agent.evaluating.evaluations import Evaluations
from autoprune.agent.evaluating.finalist import run_of, undone
from autoprune.agent.feasible.encoding import policy_of
from autoprune.agent.feasible.projection import Projection
from autoprune.agent.housing.workspace import CHECKPOINTS
from autoprune.agent.progressive import judged as judged_room
from autoprune.agent.progressive.judged import judged
from autoprune.agent.progressive.recover import recover_progressively
from autoprune.agent.progressive.run import ProgressiveRun
from autoprune.agent.progressive.state import Attempt, State
from autoprune.agent.progressive.states import States
from autoprune.agent.progressive.telling import outcome_of
from autoprune.agent.progressive.trainer import Trainer
from autoprune.agent.progressive.way import Way
from autoprune.artifacts.result import Rolledback
from autoprune.core.budget import Budget
from autoprune.core.ledger import Outcome
from autoprune.core.policy import Policy
from autoprune.core.progress import Progress, silent
from autoprune.core.progressive import (
    Step,
    StepOutcome,
    allowed,
    first_parts,
    legs,
    with_smaller_step,
)
from autoprune.core.recovery import Recovery
from autoprune.core.stages import Stage
from autoprune.cost.model import CostModel
from autoprune.errors import (
    ArtifactError,
    BudgetError,
    CandidateError,
    ConfigError,
    ModelError,
    OutputError,
)
from autoprune.evaluation.pruning.importance import rank_atoms
from autoprune.evaluation.randomness import isolated
from autoprune.evaluation.scoring.onward import Reached, onward, widened
from autoprune.evaluation.scoring.scorer import Scorer
from autoprune.evaluation.training.fine_tune import FineTuning, fine_tune
from autoprune.evaluation.training.updates import Updates
from autoprune.space.schema import SearchSpace
from autoprune.storage.checkpoints import Checkpoints
from autoprune.storage.ledger import Ledger
from autoprune.surgery.plan import Plan
from autoprune.surgery.tensors import state_tensors
from autoprune.tasks import Classification
from autoprune.testing.chains import chain
from tests.unit.conftest import batches

METHODS = ["channel.l1", "channel.l2", "unstructured.l1"]
STEPS = 20
RECOVERY = Recovery(
    reconstruct=False,
    distill=0.0,
    schedule="progressive",
    recover_steps=STEPS,
    prune_rounds=2,
    prune_until=0.4,
    finalists=2,
    calibration_batches=1,
    learning_rate=0.05,
    max_step_drop=1e9,
)


# --- legs


@given(
    rounds=st.integers(1, 6),
    until=st.floats(0.01, 1),
    steps=st.integers(0, 500),
    smaller=st.lists(st.integers(0, 5), max_size=4),
)
def test_legs_share_all_steps_and_the_last_cut_is_the_whole_one(
    rounds: int, until: float, steps: int, smaller: list[int]
) -> None:
    parts = first_parts(rounds)
    for at in smaller:
        parts = with_smaller_step(parts, min(at, len(parts) - 1), rounds) or parts
    assert len(parts) <= 2 * rounds
    found = legs(parts, rounds, until, steps)
    assert found[0].start == 0
    assert found[-1].end == steps
    assert all(one.end == two.start for one, two in pairwise(found))
    assert all(one.start <= one.end for one in found)
    assert [one.part for one in found[: len(parts)]] == list(parts)
    assert {one.part for one in found[len(parts) :]} <= {1.0}
    assert list(parts) == sorted(set(parts))


def test_legs_as_planned_and_with_a_smaller_step() -> None:
    planned = [(one.part, one.start, one.end) for one in legs(first_parts(2), 2, 0.4, 20)]
    assert planned == [(0.5, 0, 4), (1, 4, 8), (1, 8, 16), (1, 16, 20)]
    parts = with_smaller_step(first_parts(2), 1, 2)
    assert parts is not None
    assert parts == (0.5, 0.75, 1)
    assert with_smaller_step(parts, 1, 2) is None
    smaller = [(one.part, one.start, one.end) for one in legs(parts, 2, 0.4, 20)]
    assert smaller == [(0.5, 0, 4), (0.75, 4, 8), (1, 8, 12), (1, 12, 20)]


@given(
    dense=st.floats(0.5, 20),
    spacing=st.sampled_from(["linear", "exponential", "cubic"]),
    part=st.floats(0, 1),
    further=st.floats(0, 1),
)
def test_what_is_allowed_falls_from_dense_to_the_limit(
    dense: float, spacing: Any, part: float, further: float
) -> None:
    first, later = sorted((part, further))
    assert allowed(dense, first, spacing) >= allowed(dense, later, spacing) - 1e-12
    assert allowed(dense, 0, spacing) == pytest.approx(max(dense, 1))
    assert allowed(dense, 1, spacing) == 1


def test_spacings_are_those_of_the_papers() -> None:
    assert allowed(5, 0.5, "linear") == 3
    assert allowed(4, 0.5, "exponential") == 2
    assert allowed(9, 0.5, "cubic") == 2


# --- the way


WIDTHS = {name: [16, 12, 8, 4] for name in "abcd"}
PROJECTION = chain(WIDTHS, "macs=30%", ("channel.l1", "channel.l2"))


def drawn(levels: list[int], method: str = "channel.l1") -> Policy:
    params: dict[str, Any] = {}
    for unit, level in zip(PROJECTION.spaces, levels, strict=True):
        params |= {f"level:{unit}": level, f"method:{unit}": method}
    return policy_of(params, PROJECTION.spaces)


@given(
    target=st.lists(st.integers(0, 3), min_size=4, max_size=4),
    spacing=st.sampled_from(["linear", "exponential", "cubic"]),
)
def test_the_way_costs_what_is_allowed_and_ends_at_the_target(
    target: list[int], spacing: Any
) -> None:
    end = drawn(list(PROJECTION.project_row(np.array(target))))
    way, before, dearest = Way(PROJECTION, spacing), Policy({}), 2.0
    for part in (0.25, 0.5, 0.75, 1.0):
        policy = way.towards(end, before, part)
        macs = PROJECTION.costs_of(policy).macs / PROJECTION.cost.dense.macs
        assert macs <= 0.3 * allowed(1 / 0.3, part, spacing) + 1e-9
        assert macs <= dearest
        kept = {unit: 1 - choice.sparsity for unit, choice in policy.items()}
        assert all(kept[unit] >= 1 - end[unit].sparsity - 1e-9 for unit in kept)
        before, dearest = policy, macs
    assert before == end


def test_a_way_may_turn_and_give_units_back() -> None:
    one, two = drawn([3, 3, 1, 2]), drawn([1, 3, 3, 2], "channel.l2")
    way = Way(PROJECTION, "linear")
    half = way.towards(one, Policy({}), 0.5)
    turned = way.towards(two, half, 0.75)
    assert turned["d"].method == "channel.l2"
    assert turned["a"].sparsity <= half["a"].sparsity
    whole = drawn([3, 3, 0, 3])
    back = way.towards(whole, half, 0.75)
    assert "c" not in back or back["c"].method == half["c"].method, "it is not wanted, but stays"


# --- one leg


@pytest.fixture
def projection(plan: Plan, cost: CostModel) -> Projection:
    space = SearchSpace.model_validate(
        {"methods": METHODS, "sparsities": [at / 8 for at in range(1, 8)], "step": 1}
    )
    spaces = space.resolve(plan.atoms, plan.kinds)
    return Projection(cost, spaces, Budget.parse("macs=40%"))


@pytest.fixture
def scorer(net: nn.Module, plan: Plan, cost: CostModel, task: Classification) -> Scorer:
    images, classes = zip(*batches(1, 24), strict=True)
    data = TensorDataset(torch.cat(images), torch.cat(classes))
    train, search = DataLoader(data, 8, shuffle=True), batches(2, 12, 16)
    shuffled = Classification({"train": train, "search": search, "test": search})
    with isolated(0, train):
        fine_tune(net, shuffled, 80, Recovery(learning_rate=0.05), "cpu")
    importance = rank_atoms(net, plan, task, METHODS, 1, "cpu")
    return Scorer(net, plan, importance, cost, shuffled, RECOVERY, seed=0, device="cpu")


def cut(projection: Projection, *levels: int, method: str = "channel.l1") -> Policy:
    params: dict[str, Any] = {}
    for (unit, space), level in zip(projection.spaces.items(), levels, strict=True):
        chosen = method if method in space.methods else space.methods[0]
        params |= {f"level:{unit}": level, f"method:{unit}": chosen}
    return policy_of(params, projection.spaces)


def same(one: nn.Module, other: nn.Module) -> bool:
    ours, theirs = state_tensors(one), state_tensors(other)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)


def channels(projection: Projection) -> list[int]:
    """Return 1 for units of channels, 0 for others."""
    return [int(space.methods[0].startswith("channel")) for space in projection.spaces.values()]


def test_with_the_same_policy_training_goes_on_as_if_it_had_never_stopped(
    scorer: Scorer, projection: Projection
) -> None:
    policy = cut(projection, *(4 * one for one in channels(projection)))
    whole = onward(scorer, policy, STEPS, None)
    whole.reach(STEPS)
    half = onward(scorer, policy, STEPS, None)
    half.reach(7)
    again = onward(scorer, policy, STEPS, Reached(policy, half.training.state_dict()))  # type: ignore[attr-defined]
    again.reach(STEPS)
    assert same(again.model, whole.model)
    assert again.stages == whole.stages


def test_what_is_given_back_has_the_dense_bytes_and_what_was_kept_what_it_learnt(
    scorer: Scorer, projection: Projection
) -> None:
    policy = cut(projection, *(4 * one for one in channels(projection)))
    candidate = onward(scorer, policy, STEPS, None)
    candidate.reach(5)
    reached = Reached(policy, candidate.training.state_dict())  # type: ignore[attr-defined]
    wide, dense = widened(scorer, reached), scorer.model
    again = scorer.build(policy)
    again.load_state_dict(reached.state["parts"]["model"])
    narrow = replace(scorer, model=wide).build(policy)
    assert same(narrow, again), "cut again it is what was trained"
    atoms = scorer.importance.removed(policy)
    unit = scorer.plan.units["stem"]
    rows = torch.from_numpy(atoms["stem"])
    stem, original = wide.get_parameter("stem.weight"), dense.get_parameter("stem.weight")
    assert torch.equal(stem[rows], original[rows])
    left = [at for at in range(unit.atoms) if at not in set(rows.tolist())]
    assert not torch.equal(stem[left], original[left])


def test_zeros_that_are_not_wanted_any_more_come_back(
    scorer: Scorer, projection: Projection
) -> None:
    name = next(n for n, s in projection.spaces.items() if s.methods[0].startswith("unstr"))
    at = [*projection.spaces].index(name)
    deep, less = (
        cut(projection, *(n * (k == at) for k in range(len(projection.spaces)))) for n in (6, 2)
    )
    candidate = onward(scorer, deep, STEPS, None)
    candidate.reach(3)
    state = candidate.training.state_dict()  # type: ignore[attr-defined]
    after = onward(scorer, less, STEPS, Reached(deep, state))
    after.reach(6)
    fresh = scorer.build(less)
    zeros = {
        key: [
            int((model.get_parameter(member) == 0).sum())
            for member in scorer.plan.weights[name].members
        ]
        for key, model in (("after", after.model), ("fresh", fresh))
    }
    assert zeros["after"] == zeros["fresh"]


def test_alternatives_see_the_same_batches(
    scorer: Scorer, projection: Projection, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[float]] = []
    step = FineTuning._step

    def watched(training: FineTuning, batch: Any) -> None:
        seen[-1].append(float(batch[0].sum()))
        step(training, batch)

    monkeypatch.setattr(FineTuning, "_step", watched)
    ones = channels(projection)
    before: Reached | None = None
    for _ in range(2):
        for levels in (2, 5):
            seen.append([])
            policy = cut(projection, *(levels * one for one in ones))
            candidate: Any = onward(scorer, policy, STEPS, before)
            candidate.reach(candidate.training.done + 4)
        assert seen[-1] == seen[-2]
        before = Reached(policy, candidate.training.state_dict())
    assert seen[0] != seen[2]


def test_a_lower_pace_outlasts_a_fall_and_ends_where_it_is_said(
    scorer: Scorer, projection: Projection
) -> None:
    policy = cut(projection, *(2 * one for one in channels(projection)))
    training: Any = onward(scorer, policy, STEPS, None).training
    training.advance(4)
    rate = training._updates.rate
    training.set_pace(0.5)
    assert training._updates.rate == pytest.approx(rate / 2)
    training.good.confirm()
    training._get_up(float("nan"))
    training.advance(4)
    assert training._updates.rate == pytest.approx(rate / 4)
    training.set_pace(1.0)
    assert training._updates.rate == pytest.approx(rate / 2), "what fell stays slower"


@pytest.mark.parametrize("rate", ["cosine", "one-cycle", "constant"])
def test_the_rate_goes_on_after_a_cut(scorer: Scorer, projection: Projection, rate: Any) -> None:
    own = replace(scorer, recovery=replace(RECOVERY, rate_schedule=rate))
    ones = channels(projection)
    first = onward(own, cut(projection, *(2 * one for one in ones)), STEPS, None)
    first.reach(8)
    training: Any = first.training
    training.set_pace(0.5)
    state = training.state_dict()
    reached = Reached(cut(projection, *(2 * one for one in ones)), state)
    second: Any = onward(own, cut(projection, *(5 * one for one in ones)), STEPS, reached).training
    assert second.done == 8
    assert second._updates.rate == pytest.approx(training._updates.rate)
    training.advance(12), second.advance(12)
    assert second._updates.rate == pytest.approx(training._updates.rate)
    assert second._batches.state_dict()["taken"] == training._batches.state_dict()["taken"]


# --- the run


@pytest.fixture
def targets(projection: Projection) -> list[Policy]:
    ones = channels(projection)
    rows = [[6, 2], [2, 6]]
    found = []
    for first, second in rows:
        levels = iter((first, second) * len(ones))
        wanted = {u: next(levels) * one for u, one in zip(projection.spaces, ones, strict=True)}
        found.append(cut(projection, *projection.project(wanted).values()))
    assert found[0] != found[1]
    return found


Make = Callable[..., ProgressiveRun]


@pytest.fixture
def evaluations(scorer: Scorer, evaluations_by: Callable[[Scorer], Evaluations]) -> Evaluations:
    return evaluations_by(scorer)


@pytest.fixture
def make(
    scorer: Scorer,
    projection: Projection,
    targets: list[Policy],
    evaluations: Evaluations,
    tmp_path: Path,
) -> Make:
    """Return what makes a run of a name."""

    def make(
        name: str = "one", told: list[Progress] | None = None, **change: Any
    ) -> ProgressiveRun:
        own = replace(scorer, recovery=replace(scorer.recovery, **change))
        checkpoints = Checkpoints(evaluations.database, evaluations.run_id, name)
        states = States(checkpoints, tmp_path / CHECKPOINTS, name)
        progress = silent if told is None else told.append
        return ProgressiveRun(Trainer(own, states), projection, targets, 0.5, progress)

    return make


def ended(run: ProgressiveRun) -> nn.Module:
    return model_of(run, run.run())


START = State(parts=(0.5, 1.0))


def model_of(run: ProgressiveRun, state: State) -> nn.Module:
    assert state.accepted is not None
    return run.trainer.onward(state, state.accepted.policy).model


def test_a_run_ends_inside_the_budget_by_way_of_smaller_and_smaller_models(
    make: Make, projection: Projection, targets: list[Policy]
) -> None:
    told: list[Progress] = []
    run = make(told=told, prune_spacing="linear")  # there are levels between
    state = run.run()
    assert state.accepted is not None
    assert state.accepted.policy in targets
    assert projection.budget.met_by(
        projection.costs_of(state.accepted.policy), projection.cost.dense
    )
    assert state.accepted.stage is not None
    assert state.accepted.stage.steps == STEPS
    notes = [one.note for one in told if one.note and "alternative" not in one.note]
    assert [note.partition(" ")[0] for note in notes] == ["cut", "cut", "trained:", "trained:"]
    share = projection.costs_of(state.accepted.policy).macs / projection.cost.dense.macs
    assert notes[1].startswith(f"cut to {share:.0%} of macs: ")
    assert notes[3] == f"trained: {state.accepted.quality:.2%}"
    shapes = dict(model_of(run, state).named_parameters())
    cut_ = dict(run.trainer.scorer.build(state.accepted.policy).named_parameters())
    assert {n: p.shape for n, p in shapes.items()} == {n: p.shape for n, p in cut_.items()}
    assert state.sample_forwards > 0
    rows = list(run.trainer.states.checkpoints.latest())
    assert State.from_dict(rows[0]) == state


def test_a_leg_for_which_levels_are_too_coarse_only_trains(
    make: Make, targets: list[Policy]
) -> None:
    state = replace(make("coarse"), targets=targets[:1]).run()
    outcomes = [step.outcome for step in state.steps]
    assert outcomes[:2] == [StepOutcome.CUT, StepOutcome.TRAINED]
    assert state.parts == (0.5, 1.0)


def test_one_target_is_trained_once_and_each_alternative_once_more(
    make: Make, targets: list[Policy]
) -> None:
    alone = make("alone")
    few = replace(alone, targets=targets[:1]).run()
    both = make("both").run()
    assert few.sample_forwards < both.sample_forwards < 2 * few.sample_forwards


class Killed(BaseException):
    """The process dies."""


PLACES = ("write", "keep", "unlink", "train")


@pytest.mark.parametrize("place", PLACES)
def test_killed_at_any_moment_it_comes_to_the_same_end(
    make: Make, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    whole = ended(make("whole"))
    counts = dict.fromkeys(PLACES, 0)
    deadly = [0]

    def dying(name: str, function: Any, before: bool) -> Any:
        def wrapped(*args: Any, **more: Any) -> Any:
            counts[name] += 1
            dies = name == place and counts[name] == deadly[0]
            if dies and before:
                raise Killed
            found = function(*args, **more)
            if dies:
                raise Killed
            return found

        return wrapped

    monkeypatch.setattr(States, "write", dying("write", States.write, before=False))
    monkeypatch.setattr(Checkpoints, "add", dying("keep", Checkpoints.add, before=True))
    monkeypatch.setattr(Path, "unlink", dying("unlink", Path.unlink, before=True))
    monkeypatch.setattr(FineTuning, "_step", dying("train", FineTuning._step, before=False))
    killed = 0
    for at in (1, 2, 3, 5, 8, 13):
        counts.update(dict.fromkeys(PLACES, 0))
        deadly[0] = at
        try:
            make("killed").run()
        except Killed:
            killed += 1
    assert killed >= 2
    deadly[0] = -1
    again = make("killed")
    assert same(ended(again), whole)
    files = {path.name for path in again.trainer.states.folder.glob("killed-*")}
    assert files == set(again.run().kept), "nothing else is left behind"


def test_a_calm_run_keeps_its_rate(make: Make) -> None:
    """At a high rate the loss goes up and down; that is no harm."""
    for schedule in ("cosine", "one-cycle"):
        told: list[Progress] = []
        change = {"recover_steps": 200, "learning_rate": 0.1, "rate_schedule": schedule}
        make(f"calm {schedule}", told=told, **change).run()
        again = [one.note for one in told if one.note and "lower rate" in one.note]
        assert not again


def test_a_damaged_file_is_not_gone_on_from(make: Make) -> None:
    whole = ended(make("whole"))
    run = make("damaged", keep_checkpoints=3)
    state = run.run()
    path = run.trainer.states.folder / state.kept[0]
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    earlier, again = run.trainer.states.last(START)
    assert again == 1
    assert earlier.leg == state.leg - 1
    assert earlier.sample_forwards == state.sample_forwards, "what is lost was paid for"
    assert same(ended(make("damaged", keep_checkpoints=3)), whole)


def test_no_more_checkpoints_are_kept_than_asked_for(make: Make) -> None:
    for count in (1, 2):
        run = make(f"k{count}", keep_checkpoints=count)
        run.run()
        assert len(list(run.trainer.states.folder.glob(f"k{count}-*"))) == count


def test_without_training_it_cuts_all_the_same(make: Make, targets: list[Policy]) -> None:
    state = make("untrained", recover_steps=0).run()
    assert state.accepted is not None
    assert state.accepted.policy in targets
    assert not any(one.problem for one in state.attempts)


def test_a_file_that_cannot_be_read_is_not_gone_on_from(make: Make) -> None:
    run = make("unreadable")
    state = run.run()
    path = run.trainer.states.folder / state.kept[0]
    path.unlink()
    path.mkdir()  # whoever is root may read any file
    earlier, _ = run.trainer.states.last(START)
    assert earlier.leg == state.leg - 1


def test_a_file_that_cannot_be_read_now_is_no_reason_to_throw_away_any(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make("hiccup", keep_checkpoints=3)
    run.run()
    files = sorted(run.trainer.states.folder.iterdir())

    def refuse(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as context:
        context.setattr("autoprune.agent.progressive.states.sha256_of", refuse)
        with pytest.raises(OutputError, match=r"cannot be read: Permission denied\. Mend"):
            make("hiccup", keep_checkpoints=3).run()
    assert sorted(run.trainer.states.folder.iterdir()) == files


def test_all_files_gone_it_starts_anew(make: Make) -> None:
    first = make("gone")
    whole = ended(first)
    for path in first.trainer.states.folder.glob("*"):
        path.unlink()
    told: list[Progress] = []
    paid = first.trainer.states.last(START)[0].sample_forwards
    state = make("gone", told=told).run()
    assert state.sample_forwards == 2 * paid, "what is lost was paid for"
    assert "missing or damaged, so the last 4 steps are done again" in (told[0].note or "")
    assert same(model_of(first, state), whole)


class Faulty:
    """Steps with five hundred times the rate, the first time that some step is taken."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int, factor: float = 500.0) -> None:
        self.happened, step = False, FineTuning._step

        def fault(training: FineTuning, batch: Any) -> None:
            hit = training.done == at and not self.happened
            if hit:
                self.happened = True
                training._updates.slow_down(factor)
            step(training, batch)
            if hit:
                training._updates.slow_down(1 / factor)

        monkeypatch.setattr(FineTuning, "_step", fault)


@pytest.mark.parametrize("at", [1, 5, 10, 17])
def test_a_leg_that_went_wrong_is_taken_back(
    make: Make, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    undisturbed = make("calm", max_step_drop=10).run().accepted
    with monkeypatch.context() as context:
        fault = Faulty(context, at)
        found = make("fault", max_step_drop=10).run().accepted
        assert fault.happened
    with monkeypatch.context() as context:
        Faulty(context, at)
        run = make("no way back")
        monkeypatch.setattr(ProgressiveRun, "_trained_again", _once)
        hurt = replace(run, targets=run.targets[:1]).run().accepted
    assert undisturbed is not None
    assert found is not None
    assert hurt is not None
    assert undisturbed.stage is not None
    assert found.stage is not None
    assert hurt.stage is not None
    harm = hurt.stage.value - undisturbed.stage.value
    assert harm > 0.2, "or this tests nothing"
    assert found.stage.value - undisturbed.stage.value < harm / 2


def _once(run: ProgressiveRun, state: State) -> Iterator[tuple[Policy, int, float]]:
    if not state.attempts and state.accepted:
        yield state.accepted.policy, state.accepted.target, 1.0


def test_a_folder_that_cannot_be_written_says_so(make: Make) -> None:
    run = make("full")
    run.trainer.states.folder.write_text("a file is in the way")
    with pytest.raises(OutputError, match=r"checkpoint .*full-0-0\.pt cannot be written.*resume"):
        run.run()
    run.trainer.states.folder.unlink()
    assert run.run().accepted is not None
    assert not list(run.trainer.states.folder.glob(".*"))


def test_without_time_no_step_is_divided(make: Make) -> None:
    state = make("no time", prune_until=1.0, max_step_drop=0.0).run()
    found = legs(state.parts, 2, 1.0, STEPS)
    assert found[len(state.parts) - 1].end > found[len(state.parts) - 1].start


def test_what_cannot_be_trained_at_all_says_how_far_it_came(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Updates.step

    def breaks(updates: Updates, loss: Any) -> bool:
        raise CandidateError("no gradient today")

    monkeypatch.setattr(Updates, "step", breaks)
    with pytest.raises(ModelError, match=r"could not go on from macs .*no gradient today"):
        make("never").run()
    spent = [State.from_dict(one) for one in make("never").trainer.states.checkpoints.latest()]
    assert spent[0].sample_forwards > 8, "what failed costs too"
    monkeypatch.setattr(Updates, "step", step)
    assert make("never").run().accepted is not None, "what went wrong outside is forgiven"


def test_the_last_problem_is_the_last_one(make: Make, targets: list[Policy]) -> None:
    attempts = [
        Attempt(policy=one, target=at, sample_forwards=0.0, seconds=0.0, problem=f"Problem {at}.")
        for at, one in enumerate(targets)
    ]
    stuck = make()._telling.stuck(replace(START, attempts=tuple(attempts)))
    assert "The last problem: Problem 1. Lower" in str(stuck)


def test_a_step_that_loses_too_much_is_divided(
    make: Make, evaluations: Evaluations, targets: list[Policy]
) -> None:
    told: list[Progress] = []
    run = replace(make("small", told=told, max_step_drop=0.0), targets=targets[1:], quality=2.0)
    state = run.run()
    assert len(state.parts) > 2
    assert state.accepted is not None
    assert state.accepted.stage is not None
    assert state.accepted.stage.steps == STEPS
    assert StepOutcome.SMALLER.value in {one.note for one in told}
    back = [at for at, one in enumerate(state.steps) if one.outcome is StepOutcome.SMALLER]
    assert len(back) == len(state.parts) - 2
    for at in back:
        gone, then = state.steps[at : at + 2]
        assert gone.training_steps == then.training_steps
        assert gone.used["macs"] < then.used["macs"], "the next step is smaller"
    entries = Ledger(evaluations.database, evaluations.run_id).entries()
    far = [one for one in entries if one.outcome is Outcome.TOO_FAR]
    dense = run.projection.cost.dense.macs
    assert [one.costs_before["macs"] / dense for one in far] == [
        state.steps[at].used["macs"] for at in back
    ]
    assert Rolledback.of(far) == Rolledback(), "no alternative was scored"
    assert len(make("large", max_step_drop=1e9).run().parts) == 2


def test_a_step_loses_points_of_a_share_and_of_another_metric_its_own_unit(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(replace(make("share", max_step_drop=10.0), quality=2.0).run().parts) > 2
    monkeypatch.setattr(Classification, "is_share", False)
    assert len(replace(make("other", max_step_drop=10.0), quality=2.0).run().parts) == 2


def test_a_smaller_step_is_none_where_levels_are_too_coarse_for_it(
    make: Make, projection: Projection, targets: list[Policy]
) -> None:
    first = next(iter(projection.spaces))
    one_level = cut(projection, *(int(unit == first) for unit in projection.spaces))
    much = {"max_step_drop": 0.0, "prune_rounds": 1, "prune_spacing": "linear"}
    assert replace(make("fine", **much), quality=2.0).run().parts == (0.5, 1.0)
    coarse = replace(make("coarse", **much), quality=2.0)
    assert replace(coarse, targets=[one_level]).run().parts == (1.0,)


# --- judging


def attempt(projection: Projection, values: np.ndarray, target: int, *levels: int) -> Attempt:
    stage = Stage(4, 160, float(values.mean()), tuple(values.tolist()), 0.5)
    return Attempt(
        policy=cut(projection, *levels),
        target=target,
        sample_forwards=1.0,
        seconds=1.0,
        stage=stage,
        loss=stage.value,
    )


LOSSES = np.linspace(0.4, 0.6, 16)
WOBBLE = np.tile([0.01, -0.01], 8)


def test_an_alternative_must_be_better_by_a_test(projection: Projection) -> None:
    ones = channels(projection)
    one, two = [4 * n for n in ones], [2 * n for n in ones]
    first = attempt(projection, LOSSES, 0, *one)
    better = attempt(projection, LOSSES - 0.1 + WOBBLE, 1, *two)
    found = judged([first, better], projection, 2)
    assert found.best is better
    assert found.worse == {0}
    assert [entry.outcome for entry in found.entries] == [Outcome.REVERTED]
    assert found.entries[0].policy == first.policy
    assert set(found.entries[0].units) == set(first.policy)
    assert found.entries[0].step == 2
    assert found.entries[0].threshold == 0.05, "one test"
    totals = Rolledback.of(found.entries)
    assert (totals.reverted, totals.together) == (1, 0), "no pair of units in the search"
    fewer = attempt(projection, LOSSES + 0.1 + WOBBLE, 1, *(6 * n for n in ones))
    assert set(judged([first, fewer], projection, 1).entries[0].units) == set(first.policy)

    rng = np.random.default_rng(0)
    alike = attempt(projection, LOSSES - 0.001 + rng.normal(0, 0.1, 16), 1, *two)
    found = judged([first, alike], projection, 1)
    assert found.best is first
    assert found.worse == frozenset()

    worse = attempt(projection, LOSSES + 0.001 + WOBBLE, 1, *two)
    found = judged([first, worse], projection, 1)
    assert found.best is first
    assert found.worse == {1}
    assert [entry.outcome for entry in found.entries] == [Outcome.WORSE]


def test_what_failed_is_out_and_all_that_failed_is_nothing(projection: Projection) -> None:
    ones = channels(projection)
    failed = Attempt(
        policy=cut(projection, *ones), target=0, sample_forwards=0.0, seconds=0.0, problem="NaN"
    )
    fine = attempt(projection, LOSSES, 1, *(2 * n for n in ones))
    found = judged([failed, fine], projection, 1)
    assert found.best is fine
    assert found.worse == {0}
    assert judged([failed], projection, 1).best is None
    assert not judged_room.is_worse(fine, fine, 0.05)
    assert judged_room.is_worse(failed, fine, 0.05)


def test_outcomes_of_steps_say_what_was_compared(projection: Projection) -> None:
    ones = channels(projection)
    fine = [attempt(projection, LOSSES, at, *ones) for at in (0, 1)]
    failed = replace(fine[0], stage=None, problem="NaN")
    names = [
        outcome_of(attempts, best, cuts, best is None or harmful, smaller).name
        for attempts, best, cuts, harmful, smaller in (
            (fine, fine[0], True, False, False),
            (fine, fine[0], True, True, False),
            (fine, fine[1], True, False, False),
            ([failed, fine[1]], fine[1], True, False, False),
            (fine, fine[0], True, True, True),
            ([failed], None, True, True, True),
            (fine, fine[0], False, True, False),
            ([failed, fine[1]], fine[1], False, False, False),
        )
    ]
    assert names == ["CUT", "FAR", "OTHER", "REPLACED", "SMALLER", "FAILED", "TRAINED", "SLOWER"]


def test_states_and_attempts_survive_json(projection: Projection) -> None:
    fine = attempt(projection, LOSSES, 1, *channels(projection))
    state = State(parts=(0.5, 1.0), leg=1, part=0.5, accepted=fine, attempts=(fine,), out=(0,))
    step = Step(
        training_steps=4,
        used={"macs": 0.5},
        quality=None,
        attempts=2,
        outcome=StepOutcome.CUT,
    )
    state = state.gone_on(fine, 1.0, 2, step).tried(fine).taken_back((0.25, 0.5, 1.0), step)
    assert state.stages == (fine.stage,)
    assert State.from_dict(state.to_dict()) == state
    assert fine.evaluation.score == fine.loss


# --- the last round of a search


def test_the_winner_is_kept_and_its_cost_is_that_of_the_whole_run(
    scorer: Scorer,
    projection: Projection,
    targets: list[Policy],
    evaluations_by: Callable[[Scorer], Evaluations],
) -> None:
    evaluations = evaluations_by(scorer)
    ranked = [evaluations.score(policy) for policy in targets]

    def recovered(some: Any, accepts: bool) -> Any:
        return recover_progressively(
            some, evaluations, silent, lambda evaluation, model: accepts, projection, 0.5
        )

    model, found = recovered(ranked, True)
    assert found.outcome == "recovered"
    assert found.weights is not None
    assert (evaluations.folder / found.weights).is_file()
    steps = scorer.share(found.policy) * 3 * 8 * STEPS
    assert found.sample_forwards > steps
    assert [stage.steps for stage in found.stages] == [4, 8, 16, 20]
    assert not model.training
    entries = Ledger(evaluations.database, evaluations.run_id).entries()
    assert entries
    assert all(entry.units and entry.step in (1, 2) for entry in entries)
    spent = Checkpoints.spent(evaluations.database, evaluations.run_id, "sample_forwards")
    assert 0 <= found.sample_forwards - spent <= 192, "it is measured once more"
    again, second = recovered(ranked, True)
    assert same(again, model)
    assert replace(second, seconds=0.0) == replace(found, seconds=0.0)
    path = evaluations.folder / found.weights
    kept = evaluations.finalist(found.policy, run_of(found.weights))
    assert same(kept.finish()[0], model)
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(
        ArtifactError, match="which a progressive run or a population made, are missing"
    ):
        evaluations.finalist(found.policy, run_of(found.weights)).finish()
    recovered(ranked[::-1], True)
    assert len(list(evaluations.folder.glob("finalist-*"))) == 2, "each run keeps its own"
    with pytest.raises(BudgetError, match="missed a limit"):
        recovered(ranked, False)
    with pytest.raises(ModelError, match="None of the pruned models"):
        recovered([], True)


def test_a_first_leg_without_a_step_is_no_training_that_was_undone(
    scorer: Scorer,
    projection: Projection,
    targets: list[Policy],
    evaluations_by: Callable[[Scorer], Evaluations],
) -> None:
    short = replace(scorer, recovery=replace(scorer.recovery, recover_steps=2))
    evaluations = evaluations_by(short)
    ranked = [evaluations.score(policy) for policy in targets]
    _, found = recover_progressively(
        ranked, evaluations, silent, lambda evaluation, model: True, projection, 0.5
    )
    assert [stage.steps for stage in found.stages][:: len(found.stages) - 1] == [0, 2]
    assert undone(found) is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"schedule": "slow"}, "schedule must be one of one-shot, progressive"),
        ({"prune_rounds": 0}, "prune_rounds must be a whole number of at least 1"),
        ({"prune_until": 0}, "prune_until must be a number above 0 and at most 1"),
        ({"prune_until": 1.5}, "prune_until must be a number above 0"),
        ({"prune_spacing": "wide"}, "prune_spacing must be one of linear, exponential, cubic"),
        ({"max_step_drop": -1}, "max_step_drop must be a number of at least 0"),
        ({"prune_rounds": 1000}, "prune_rounds must be at most 100"),
        ({"keep_checkpoints": 0}, "keep_checkpoints must be a whole number of at least 1"),
    ],
)
def test_settings_are_checked(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Recovery(**change)
