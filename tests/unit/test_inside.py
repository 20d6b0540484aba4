"""The measured word on latency: the next candidate, a tighter aim, or an honest refusal."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import optuna
import pytest
from torch import nn

from autoprune.agent.feasible.projection import Projection
from autoprune.agent.finalists.inside import Inside
from autoprune.agent.housing.described import MEASURED
from autoprune.agent.join import _help
from autoprune.agent.latency.gate import Gate, Measurement, exceeded, told_misses
from autoprune.core.budget import Budget
from autoprune.core.costs import EXACT, Costs
from autoprune.core.limit import Limit
from autoprune.core.policy import Choice, Policy
from autoprune.core.progress import Progress
from autoprune.core.stages import Stage
from autoprune.cost.latency.graph import EndToEnd
from autoprune.cost.latency.observations import Comparison, Timing
from autoprune.cost.model import CostModel
from autoprune.errors import BudgetError, ModelError, OutOfMemoryError
from autoprune.space.schema import UnitSpace
from autoprune.storage.records import Evaluation

pytestmark = pytest.mark.usefixtures("quiet_optuna")

COST = "latency@fake"
DENSE_MS = 100.0


def comparison(ratio: float, width: float = 0.0, dense_ms: float = DENSE_MS) -> Comparison:
    def timing(ms: float) -> Timing:
        low, high = (ms * (1 + sign * width) / 1000 for sign in (-1, 1))
        return Timing(seconds=ms / 1000, low=low, high=high, repeats=12, spread=width, busy=False)

    return Comparison(
        ratio=ratio,
        low=ratio * (1 - width),
        high=ratio * (1 + width),
        pairs=12,
        spread=width,
        busy=False,
        dense=timing(dense_ms),
        pruned=timing(ratio * dense_ms),
    )


# --- one measurement


def test_of_a_share_the_upper_end_of_the_ratio_counts() -> None:
    found = Measurement(comparison(0.58, width=0.05), Limit(0.6, relative=True))
    assert found.excess == pytest.approx(0.58 * 1.05 / 0.6)
    assert found.excess > 1
    assert found.dense_ms == pytest.approx(100)
    assert found.pruned_ms == pytest.approx(58)
    calm = Measurement(comparison(0.58, width=0.01), Limit(0.6, relative=True))
    assert calm.excess < 1


def test_of_milliseconds_the_upper_end_of_the_time_counts() -> None:
    found = Measurement(comparison(0.58, width=0.05), Limit(60.0, relative=False, unit="ms"))
    assert found.excess == pytest.approx(58 * 1.05 / 60)
    assert found.pruned_ms == pytest.approx(58)
    # a machine that became slower does not excuse what takes longer than it may
    slow = Measurement(comparison(0.58, dense_ms=120), Limit(60.0, relative=False, unit="ms"))
    assert slow.excess == pytest.approx(0.58 * 120 / 60)


def test_milliseconds_are_no_excuse_for_a_slower_model() -> None:
    """Predictions may have been pessimistic: the dense model is inside by itself."""
    found = Measurement(comparison(1.1, dense_ms=50), Limit(60.0, relative=False, unit="ms"))
    assert found.excess == pytest.approx(1.1)


def test_what_was_missed_is_told_in_the_words_of_the_budget() -> None:
    budget = Budget.parse("latency=60%@fake,latency=8000us@two")
    ratio, ms = comparison(0.594, width=0.05), comparison(1.01, width=0.1, dense_ms=7.5)
    share = told_misses({COST: Measurement(ratio, budget.limits[COST])})
    assert share.startswith(
        "latency=60%@fake by 4.0% (median 59.4% of the dense model, upper end of its 95% interval "
        "62.4%: before fine-tuning the upper end must be inside, after it the median)"
    )
    time = told_misses({"latency@two": Measurement(ms, budget.limits["latency@two"])})
    assert time.startswith(
        "latency=8ms@two by 4.2% (median 7.575 ms, upper end of its 95% interval 8.333 ms, slower "
        "than the dense model: "
    )


class Pairs:
    """Stands for the dense model, loaded; models tell their ratio themselves."""

    def __init__(self, limit_s: list[float]) -> None:
        self.limit_s = limit_s

    def compare(self, pruned: nn.Module, limit_s: float) -> Comparison:
        self.limit_s.append(limit_s)
        return comparison(float(pruned.get_buffer("ratio")), width=0.0)


def model_of(ratio: float) -> nn.Module:
    import torch

    model = nn.Module()
    model.register_buffer("ratio", torch.tensor(ratio))
    return model


def test_the_gate_tells_which_limits_are_missed_and_by_what() -> None:
    pairs = cast(EndToEnd, Pairs([]))
    limits = {COST: Limit(0.6, relative=True), "latency@two": Limit(90.0, relative=False)}
    gate = Gate({COST: pairs, "latency@two": pairs}, limits)

    def excess(name: str, ratio: float) -> dict[str, float]:
        missed = exceeded(gate.measure(name, model_of(ratio)))
        return {cost: one.excess for cost, one in missed.items()}

    assert excess("a", 0.5) == {}
    assert excess("b", 0.72) == {COST: pytest.approx(1.2)}
    assert excess("c", 0.99) == {
        COST: pytest.approx(1.65),
        "latency@two": pytest.approx(1.1),
    }
    assert gate.seen.keys() == {"a", "b", "c"}
    assert gate.seen["b"][COST].limit == limits[COST]


def test_what_was_measured_under_one_budget_is_judged_by_another() -> None:
    """Along a front nothing is measured anew for the next limit."""
    pairs = {COST: cast(EndToEnd, Pairs([]))}
    wide = Gate(pairs, {COST: Limit(0.6, relative=True)})
    assert exceeded(wide.measure("a", model_of(0.58))) == {}
    tight = wide.under(Budget({COST: Limit(0.5, relative=True)}))
    assert exceeded(tight.seen["a"])[COST].excess == pytest.approx(0.58 / 0.5)
    assert exceeded(wide.seen["a"]) == {}, "the first gate is as it was"
    assert tight.pairs is wide.pairs


def test_without_limits_on_latency_the_gate_lets_all_pass() -> None:
    with Gate.open([], Budget.parse("macs=50%")) as gate:
        assert gate.pairs == {}
        assert gate.measure("a", model_of(3.0)) == {}


# --- from ranked policies to those inside


KEPT = tuple(range(100, 0, -1))


@dataclass
class OneUnit:
    """One unit of a hundred atoms that each are priced at a millisecond."""

    uncounted: tuple[str, ...] = ()

    @property
    def dense(self) -> Costs:
        return self.price({})

    def price(self, kept: Mapping[str, int]) -> Costs:
        atoms = kept.get("u", 100)
        return Costs(**dict.fromkeys(EXACT, atoms), latency={"fake": float(atoms)}, parts={})

    def row(self, kept: Mapping[str, int]) -> np.ndarray:
        return np.array([[kept.get("u", 100)]])

    def column(self, unit: str) -> int:
        return 0

    def price_many(self, kept: np.ndarray) -> dict[str, np.ndarray]:
        return {name: kept[:, 0] for name in EXACT} | {COST: kept[:, 0].astype(float)}


@dataclass
class FakeLoop:
    """Scores the policies that the projection allows, the largest first: it is the best."""

    projection: Projection
    study: optuna.Study
    trials: int
    progress: Callable[[Progress], Any]
    scored: dict[str, Evaluation] = field(default_factory=dict)
    limits: list[dict[str, float]] = field(default_factory=list)
    late: bool = False

    def run(self) -> list[Evaluation]:
        self.limits.append(dict(self.projection.tightened))
        largest = self.projection.project({"u": 0})["u"]
        for atoms in KEPT[largest:]:
            if len(self.scored) >= self.trials:
                break
            policy = Policy({"u": Choice("channel.l1", 1 - atoms / 100)})
            found = Evaluation(policy, "scored", 1.0 / atoms, 0.5, 0, 0.0)
            self.scored.setdefault(policy.fingerprint, found)
        return sorted(self.scored.values(), key=lambda e: e.loss or 0.0)

    def help(self) -> int:
        return len(self.run())


def atoms_of(evaluation: Evaluation) -> int:
    choice = evaluation.policy.get("u")
    assert choice is not None
    return round(100 * (1 - choice.sparsity))


@contextmanager
def inside(
    truth: Callable[[int], float],
    budget: str = f"{COST}=60%",
    wanted: int = 1,
    trials: int = 8,
    study: optuna.Study | None = None,
    after: Callable[[int], float] | None = None,
) -> Iterator[tuple[Inside, list[int], list[Progress]]]:
    """Give the search of a model whose true ratio is a function of the atoms kept.

    ``after`` is the ratio when it is measured again, fine-tuned; the same if not given.
    """
    spaces = {"u": UnitSpace("u", 100, ("channel.l1",), KEPT)}
    projection = Projection(cast(CostModel, OneUnit()), spaces, Budget.parse(budget))
    told: list[Progress] = []
    built: list[int] = []

    def build(policy: Policy) -> nn.Module:
        choice = policy.get("u")
        assert choice is not None
        built.append(round(100 * (1 - choice.sparsity)))
        return model_of(truth(built[-1]))

    begun: list[Evaluation] = []
    loop = FakeLoop(projection, study or optuna.create_study(), trials, told.append)

    def finalist(policy: Policy) -> Any:
        found = loop.scored[policy.fingerprint]
        begun.append(found)
        loss = found.loss or 0.0
        return SimpleNamespace(
            reach=lambda steps: Stage(steps, 1, loss, (loss,), found.quality),
            finish=lambda: (model_of((after or truth)(atoms_of(found))), found),
            leave=lambda: None,
        )

    recovery = SimpleNamespace(recover_steps=8)
    task = SimpleNamespace(higher_is_better=True, is_share=True)
    scorer = SimpleNamespace(
        build=build, recovery=recovery, recover=None, task=task, finalists=wanted
    )
    evaluations = SimpleNamespace(scorer=scorer, finalist=finalist, begun=begun)
    limits = {cost: one for cost, one in projection.budget.limits.items() if cost == COST}
    gate = Gate(dict.fromkeys(limits, cast(EndToEnd, Pairs([]))), limits)
    yield Inside(gate, cast(Any, loop), cast(Any, evaluations), loop.trials), built, told


def lowered(told: list[Progress]) -> list[str]:
    """Return the notes that say that the search aims lower."""
    return [event.note for event in told if event.note and "aims lower" in event.note]


def finalists(search: Inside) -> list[Evaluation]:
    """Return those that are trained until there is a winner, the best score first."""
    search.winner()
    begun: list[Evaluation] = cast(Any, search.evaluations).begun
    return begun


def winner(search: Inside) -> Evaluation:
    return search.winner()[1]


def test_where_the_table_is_right_the_best_few_are_taken() -> None:
    with inside(lambda atoms: 0.999 * atoms / 100, wanted=3) as (search, built, told):
        assert [atoms_of(found) for found in finalists(search)] == [60, 59, 58]
        assert built == [60, 59, 58], "no more is measured than is wanted"
        assert {event.stage for event in told} == {"measure", "recover"}
        notes = [event.note for event in told if event.note]
        assert notes[0] == (
            "measured: median 59.9% of the dense model, upper end of its 95% interval 59.9%, for "
            "latency=60%@fake"
        )
        assert len(notes) == 4, "three before they are fine-tuned, the winner after"
        begun = [(e.done, e.total) for e in told if e.stage == "measure" and not e.note]
        assert begun[0] == (0, 3)
        assert all(done <= total for done, total in begun)


def test_the_next_candidate_is_taken_where_the_best_misses() -> None:
    with inside(lambda atoms: atoms / 100 + (0.1 if atoms > 57 else 0)) as (search, built, _):
        assert [atoms_of(found) for found in finalists(search)] == [57]
        assert built == [60, 59, 58, 57]
        assert search.loop.projection.tightened == {}


def test_where_all_miss_it_aims_lower_and_goes_on() -> None:
    """Everything takes longer than the table says, by a fifth."""
    with inside(lambda atoms: 1.21 * atoms / 100, trials=2) as (search, built, told):
        assert [atoms_of(one) for one in finalists(search)] == [49]
        assert built == [60, 59, 49]
        loop = cast(Any, search.loop)
        assert len(loop.limits) == 2, "one correction is enough where all miss alike"
        # the closest, 59 atoms, took 71.39 of 60
        assert loop.limits[1] == {COST: pytest.approx(0.99 / (71.39 / 60))}
        (note,) = lowered(told)
        assert note.startswith(
            "no policy was inside; the closest missed latency=60%@fake by 19.0%"
        )


def test_the_study_tells_what_was_measured_to_be_over() -> None:
    study = optuna.create_study()
    with inside(lambda atoms: atoms / 100 + (0.1 if atoms > 57 else 0), study=study) as (
        one,
        _,
        _,
    ):
        (found,) = finalists(one)
    told = study.user_attrs[MEASURED]
    assert {name for name, costs in told.items() if not costs[COST]["over"]} == {
        found.policy.fingerprint
    }
    assert len(told) == 4, "60, 59, 58 and 57 atoms"
    by = sorted(costs[COST]["by"] for costs in told.values())
    assert by == pytest.approx([57 / 60 - 1, 68 / 60 - 1, 69 / 60 - 1, 70 / 60 - 1])
    assert all("upper end" in costs[COST]["text"] for costs in told.values())


def test_the_study_tells_that_what_was_inside_is_over_once_it_is_fine_tuned() -> None:
    study = optuna.create_study()
    with (
        inside(lambda _: 0.5, study=study, after=lambda _: 0.7, trials=2) as (search, _, _),
        pytest.raises(BudgetError),
    ):
        search.winner()
    assert {costs[COST]["over"] for costs in study.user_attrs[MEASURED].values()} == {True}


def test_a_resumed_search_aims_where_it_did() -> None:
    study = optuna.create_study()
    with inside(lambda atoms: 1.21 * atoms / 100, study=study, trials=2) as (search, _, _):
        first = finalists(search)
        aimed = dict(search.loop.projection.tightened)
    with inside(lambda atoms: 1.21 * atoms / 100, study=study, trials=2) as (search, _, told):
        loop = cast(Any, search.loop)
        again = finalists(search)
        assert loop.limits[0] == aimed
        assert loop.trials == 3
        assert not lowered(told)
    assert [e.policy for e in again] == [e.policy for e in first]


def test_an_agent_that_joins_late_aims_where_the_run_does() -> None:
    study = optuna.create_study()
    with inside(lambda atoms: 1.21 * atoms / 100, study=study, trials=2) as (search, _, _):
        finalists(search)
        aimed = dict(search.loop.projection.tightened)
    with inside(lambda atoms: atoms / 100, study=study, trials=2) as (search, _, _):
        loop = cast(Any, search.loop)
        session = SimpleNamespace(loop=lambda: loop, request=SimpleNamespace(pareto=None))
        assert _help(cast(Any, session)) == 3
        assert loop.limits == [aimed]


def test_it_gives_up_and_says_by_how_much() -> None:
    """Pruning does not make it faster, so no aim will do."""
    with (
        inside(lambda atoms: 0.9) as (search, _, told),
        pytest.raises(
            BudgetError, match=r"closest missed latency=60%@fake by 50\.0%.*higher limit"
        ),
    ):
        finalists(search)
    assert len(told) >= 3
    assert len(lowered(told)) == 5, "after the sixth aim it does not aim again"


def test_memory_that_runs_out_is_no_reason_to_aim_lower() -> None:
    def full(*_: object) -> Any:
        raise OutOfMemoryError("Memory ran out.")

    truth = {60: 0.7}  # one missed the limit before
    with inside(lambda atoms: truth.get(atoms, atoms / 100)) as (search, _, told):
        cast(Any, search.evaluations).finalist = full
        with pytest.raises(OutOfMemoryError):
            finalists(search)
        assert search.gate.seen
        assert not lowered(told)


def test_as_many_more_are_scored_where_other_limits_scored_some_already() -> None:
    with inside(lambda atoms: atoms / 100, trials=8) as (search, _, _):
        loop = cast(Any, search.loop)
        loop.scored.update(dict.fromkeys(map(str, range(12))))
        search._misses = [exceeded(search.gate.measure("one", model_of(0.9)))]
        assert search._lower(3)
        assert loop.trials == 15


def test_an_aim_that_cannot_be_reached_says_what_was_measured() -> None:
    with (
        inside(lambda atoms: 3.0) as (search, _, _),
        pytest.raises(
            BudgetError, match=r"closest missed latency=60%@fake by 400\.0%.*higher limit"
        ),
    ):
        finalists(search)


def test_only_the_limit_that_is_missed_is_tightened() -> None:
    budget = f"{COST}=60%,macs=90"
    with inside(lambda atoms: 1.25 * atoms / 100, budget=budget) as (search, built, _):
        finalists(search)
        assert len(built) == len(set(built)), "nothing is measured twice"
        assert search.loop.projection.tightened.keys() == {COST}


def test_a_limit_in_milliseconds_is_held() -> None:
    with inside(lambda atoms: 1.25 * atoms / 100, budget=f"{COST}=60ms") as (search, _, _):
        assert 1.25 * atoms_of(finalists(search)[0]) <= 60


def test_fewer_than_wanted_are_enough() -> None:
    truth = {60: 0.5}
    with inside(lambda atoms: truth.get(atoms, 2.0), wanted=3) as (search, built, _):
        assert [atoms_of(found) for found in finalists(search)] == [60]
        assert len(built) == 8


def test_a_fine_tuned_model_that_misses_is_followed_by_the_next() -> None:
    def after(atoms: int) -> float:
        return atoms / 100 + 0.01 * (atoms == 60)

    with inside(lambda atoms: 0.999 * atoms / 100, wanted=2, after=after) as (search, _, told):
        assert atoms_of(winner(search)) == 59
        assert not lowered(told)


def test_where_all_miss_when_measured_again_it_aims_lower_and_goes_on() -> None:
    with inside(lambda atoms: atoms / 100, after=lambda atoms: 1.3 * atoms / 100) as (
        search,
        _,
        told,
    ):
        best = winner(search)
        assert atoms_of(best) <= 46
        measured = search.gate.seen[best.policy.fingerprint][COST].comparison.ratio
        assert measured == pytest.approx(1.3 * atoms_of(best) / 100)
        assert lowered(told)


def test_what_was_measured_for_another_limit_is_no_miss_of_this_one() -> None:
    """Along a front: a candidate that cannot be run is no reason to aim lower."""
    with inside(lambda atoms: 0.5) as (search, _, told):
        search.gate.measure("of a tighter limit", model_of(0.3))

        def broken(policy: Policy) -> nn.Module:
            raise ModelError("It cannot be exported.")

        search.evaluations.scorer.build = broken  # type: ignore[method-assign]
        with pytest.raises(ModelError, match="cannot be exported"):
            winner(search)
    assert not lowered(told)


def test_without_limits_on_latency_nothing_is_measured() -> None:
    with inside(lambda atoms: 9.0, budget="macs=60%", wanted=8) as (search, built, _):
        assert len(finalists(search)) == 8
        assert built == []
