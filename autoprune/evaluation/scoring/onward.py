"""A model on its way that is cut further: what was learnt stays, what comes back is original."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from autoprune.core.fingerprint import seed_from
from autoprune.core.policy import Policy
from autoprune.evaluation.pruning.pruned import pruned
from autoprune.evaluation.randomness import Randomness
from autoprune.evaluation.scoring.candidate import Candidate
from autoprune.evaluation.scoring.scorer import Scorer
from autoprune.evaluation.training.fine_tune import FineTuning
from autoprune.surgery.restore import restored
from autoprune.surgery.sparse import kept_at_zero
from autoprune.surgery.tensors import copied, state_tensors


@dataclass(frozen=True)
class Reached:
    """Where a training stood.

    Args:
        policy: What its model was cut by.
        state: Its state, see `FineTuning.state_dict`.
    """

    policy: Policy
    state: Mapping[str, Any]


def onward(scorer: Scorer, policy: Policy, steps: int, before: Reached | None) -> Candidate:
    """Return the model of a policy as it goes on from another one, scored as in the search.

    With the policy it had, training goes on as if it had never stopped. With another one, weights
    that both have are taken over, others have the bytes of the dense model, norms are
    recalibrated, and momentum and averages begin anew; rate, data order and randomness go on.

    Args:
        scorer: What builds and trains.
        policy: What the model is cut by now.
        steps: Training steps to the end of the whole run.
        before: What it goes on from; None for the dense model.

    Raises:
        DataError: If a loader fails.
    """
    start = time.perf_counter()
    done = before.state["done"] if before else 0
    seed = seed_from(scorer.seed, steps, done)  # whatever the policy: all see the same batches
    randomness = Randomness(seed, scorer.task.loader("train"))
    same = before is not None and before.policy == policy
    share = scorer.share(policy)
    wide, spent = scorer.shrunk(policy) if before is None else (scorer.model, 0.0)
    if before is not None and not same:
        wide = widened(scorer, before)
    with randomness.running():
        model = pruned(wide, scorer.plan, scorer.importance, policy)
        if not same:
            atoms, trained = scorer.importance.removed(policy), before is not None
            spent += scorer.settling.settle(model, atoms, share, trained=trained)
    training = scorer.training(model, steps, randomness, final=True)
    assert isinstance(training, FineTuning)
    if before is not None:
        go_on = training.load_state_dict if same else training.take_over
        go_on(before.state)
    return Candidate(
        training=training,
        split=scorer.trained_split,
        share=share,
        sample_forwards=spent,
        seconds=time.perf_counter() - start,
    )


def widened(scorer: Scorer, before: Reached) -> nn.Module:
    """Return a model of the dense shape: what was trained, elsewhere the dense model's bytes."""
    model, dense = scorer.build(before.policy), scorer.model
    model.load_state_dict(before.state["parts"]["model"])
    atoms = scorer.importance.removed(before.policy)
    whole = restored(model, dense, scorer.plan, atoms, [*atoms]) if atoms else model
    values, zeroed = state_tensors(whole), kept_at_zero(model)
    found = copied(dense)
    with torch.no_grad():
        for name, target in state_tensors(found).items():
            value = values[name]
            target.copy_(torch.where(value == 0, target, value) if name in zeroed else value)
    return found
