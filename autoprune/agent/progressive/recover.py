"""The last round of a search, done progressively."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import islice

from autoprune.agent.evaluating.evaluations import Evaluations
from autoprune.agent.feasible.projection import Projection
from autoprune.agent.finalists.race import Accepts, Recovered
from autoprune.agent.housing.workspace import CHECKPOINTS
from autoprune.agent.progressive.run import ProgressiveRun
from autoprune.agent.progressive.states import States
from autoprune.agent.progressive.trainer import Trainer
from autoprune.core.fingerprint import fingerprint
from autoprune.core.progress import ProgressCallback
from autoprune.errors import BudgetError, ModelError
from autoprune.storage.checkpoints import Checkpoints
from autoprune.storage.records import Evaluation


def recover_progressively(
    ranked: Iterable[Evaluation],
    evaluations: Evaluations,
    progress: ProgressCallback,
    accepts: Accepts,
    projection: Projection,
    quality: float,
) -> Recovered:
    """Cut and train towards the best policy, step by step; return what it came to.

    Args:
        ranked: Policies that were scored, the best one first; as many as there are finalists
            count, those after the first as alternatives to its steps.
        evaluations: What trains them, and keeps what is found.
        progress: Told of each attempt at a step.
        accepts: Tells whether a fine-tuned model is inside the limits by measurement.
        projection: The limits.
        quality: Quality of the dense model on the search split.

    Returns:
        The model, and its evaluation with the cost of the whole run.

    Raises:
        ModelError: If nothing could be trained.
        BudgetError: If it was not accepted.
    """
    scorer = evaluations.scorer
    targets = [one.policy for one in islice(ranked, scorer.finalists)]
    if not targets:
        raise ModelError("None of the pruned models that were scored could be fine-tuned.")
    steps = scorer.recovery.recover_steps
    name = fingerprint(
        [
            scorer.fingerprint(-1 - steps),
            [target.fingerprint for target in targets],
            projection.budget.to_dict(),
            projection.tightened,
        ]
    )[:12]
    checkpoints = Checkpoints(evaluations.database, evaluations.run_id, name)
    states = States(checkpoints, evaluations.folder / CHECKPOINTS, name)
    trainer = Trainer(scorer, states)
    state = ProgressiveRun(trainer, projection, targets, quality, progress).run()
    assert state.accepted is not None
    candidate = trainer.onward(state, state.accepted.policy)
    candidate.sample_forwards = state.sample_forwards
    candidate.seconds = state.seconds
    candidate.stages = [*state.stages]
    begun = evaluations.finalist(state.accepted.policy, name)
    model, found = replace(begun, known=None, candidate=candidate).finish()
    if not accepts(found, model):
        raise BudgetError(
            "The pruned model missed a limit when it was measured once more, though it was inside "
            "before. What was scored is kept: resume when the device is less busy, or start "
            "afresh with a higher limit."
        )
    return model, found
