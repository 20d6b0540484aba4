"""Progressive runs against one-shot recovery, and after a step that went wrong."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from torch import nn

from autoprune.agent.evaluating.evaluations import Evaluations
from autoprune.agent.finalists.race import recover_finalists
from autoprune.agent.progressive.recover import recover_progressively
from autoprune.core.ledger import Outcome
from autoprune.core.progress import silent
from autoprune.evaluation.measuring.measure import measure
from autoprune.evaluation.training.fine_tune import FineTuning
from autoprune.space.loader import load_space
from autoprune.storage.ledger import Ledger
from autoprune.storage.records import Evaluation
from benchmarks.evaluations import evaluations_of
from benchmarks.group import Group
from benchmarks.isolated import Facts, Note
from benchmarks.proxy.policies import SOURCES

POLICIES = 8  # allocations, of which the best by score are the targets
HALVED = 1.75  # steps of a race of three, as a multiple of those to its end
FACTOR = 100.0  # of the learning rate, in the step that goes wrong


def compare(note: Note, model: str, macs: str, seed: int, steps: int) -> None:
    """Recover the same policies progressively, and in one go with as many training steps.

    Args:
        note: Told, for ``progressive``, ``one_shot`` (three finalists that are halved) and
            ``single`` (the best by score alone): ``quality`` on the test split and ``steps``.
        model: Name of the network.
        macs: The limit.
        seed: Of what is trained.
        steps: Training steps of the progressive run, without alternatives.
    """
    with _group(model, macs, seed) as (group, evaluations, ranked):
        found = _progressive(group, evaluations, ranked, steps)
        note(progressive=found)
        for name, finalists, parts in (("one_shot", 3, HALVED), ("single", 1, 1.0)):
            own = _with(evaluations, recover_steps=round(found["steps"] / parts))
            own = _with(own, finalists=finalists)
            with _counted() as taken:
                recovered, _ = recover_finalists(ranked, own, silent)
            note(**{name: {"quality": _tested(group, recovered), "steps": len(taken)}})


def disturb(note: Note, model: str, macs: str, seed: int, steps: int, at: int) -> None:
    """Recover progressively, with a hundred times the learning rate in one step.

    Args:
        note: Told ``quality`` on the test split, ``steps`` and ``happened``.
        model: Name of the network.
        macs: The limit.
        seed: Of what is trained.
        steps: Training steps of the run, without alternatives.
        at: The step that goes wrong, the first time it is taken.
    """
    with _group(model, macs, seed) as (group, evaluations, ranked), _fault(at) as happened:
        note(**_progressive(group, evaluations, ranked, steps), happened=len(happened))


def _progressive(
    group: Group, evaluations: Evaluations, ranked: list[Evaluation], steps: int
) -> Facts:
    own = _with(evaluations, schedule="progressive", recover_steps=steps)
    dense = measure(own.scorer.model, own.scorer.task, "search", "cpu").quality
    with _counted() as taken:
        found, _ = recover_progressively(
            ranked, own, silent, lambda evaluation, model: True, group.projection, dense
        )
    entries = Ledger(own.database, own.run_id).entries()
    reverted = sum(one.outcome is Outcome.REVERTED for one in entries)
    tested = _tested(group, found)
    return {"quality": tested, "steps": len(taken), "examined": len(entries), "reverted": reverted}


@contextmanager
def _group(
    model: str, macs: str, seed: int
) -> Iterator[tuple[Group, Evaluations, list[Evaluation]]]:
    """Yield a group, what evaluates, and allocations by their scores, the best first."""
    group = Group.of(model, macs, load_space("default"))
    recovery = replace(group.scorer.recovery, score_by="loss", stages=(), distill=0.0)
    with evaluations_of(replace(group.scorer, recovery=recovery, seed=seed)) as evaluations:
        scored = [evaluations.score(one) for one in SOURCES["plain"](group, 0, POLICIES)]
        fine = [one for one in scored if one.score is not None]
        yield group, evaluations, sorted(fine, key=lambda one: one.score or 0.0)


def _with(evaluations: Evaluations, **change: Any) -> Evaluations:
    recovery = replace(evaluations.scorer.recovery, **change)
    return replace(evaluations, scorer=replace(evaluations.scorer, recovery=recovery))


def _tested(group: Group, model: nn.Module) -> float:
    return measure(model, group.scorer.task, "test", "cpu").quality


@contextmanager
def _counted() -> Iterator[list[int]]:
    """Yield a list that gets an entry for each training step in the block."""
    taken: list[int] = []
    step = FineTuning._step

    def counted(training: FineTuning, batch: Any) -> None:
        taken.append(training.done)
        step(training, batch)

    with patch.object(FineTuning, "_step", counted):
        yield taken


@contextmanager
def _fault(at: int) -> Iterator[list[int]]:
    """Have a step taken at too high a rate, once; yield a list that tells that it was."""
    happened: list[int] = []
    step = FineTuning._step

    def fault(training: FineTuning, batch: Any) -> None:
        if training.done != at or happened:
            step(training, batch)
            return
        happened.append(at)
        training._updates.slow_down(FACTOR)
        step(training, batch)
        training._updates.slow_down(1 / FACTOR)

    with patch.object(FineTuning, "_step", fault):
        yield happened
