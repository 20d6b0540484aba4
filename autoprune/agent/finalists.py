"""The best few by score are fine-tuned for longer; the best of those wins."""

import time
from collections.abc import Callable, Iterable

from torch import nn

from autoprune.agent.evaluations import Evaluations
from autoprune.core.progress import Progress, ProgressCallback
from autoprune.errors import BudgetError, CandidateError, ModelError
from autoprune.storage.records import Evaluation


def recover_finalists(
    ranked: Iterable[Evaluation],
    evaluations: Evaluations,
    progress: ProgressCallback,
    accepts: Callable[[Evaluation, nn.Module], bool] = lambda evaluation, model: True,
) -> tuple[nn.Module, Evaluation, list[Evaluation]]:
    """Fine-tune the best few, and return the best model, its evaluation, and all of them.

    Quality on the search split decides, then loss. Finalists that diverge, or are not accepted
    once they are fine-tuned, are replaced by the next in line.

    Raises:
        ModelError: If all of them are.
        BudgetError: If all that could be fine-tuned were not accepted.
    """
    wanted = evaluations.scorer.recovery.finalists
    recovered: list[tuple[nn.Module, Evaluation]] = []
    problem, missed, tried = "", False, 0
    start = time.monotonic()
    for candidate in ranked:
        tried += 1
        try:
            model, found = evaluations.recover(candidate.policy)
        except CandidateError as err:
            problem = str(err)
            continue
        if not accepts(found, model):
            missed = True
            continue
        recovered.append((model, found))
        best = max(recovered, key=_merit)[1]
        pace = (time.monotonic() - start) / len(recovered)
        progress(
            Progress(
                stage="recover",
                done=len(recovered),
                total=wanted,
                best_quality=best.quality,
                best_loss=best.loss,
                seconds_left=pace * (wanted - len(recovered)),
            )
        )
        if len(recovered) == wanted:
            break
    if not recovered and missed:
        raise BudgetError(
            "Every pruned model that was fine-tuned missed a limit when it was measured once "
            "more, though it was inside before. What was scored is kept: resume when the device "
            "is less busy, or start afresh with a higher limit."
        )
    if not recovered:
        raise ModelError(
            f"None of the {tried} pruned models that were scored could be fine-tuned. The "
            f"last problem: {problem} Lower recovery.learning_rate and start afresh."
        )
    model, winner = max(recovered, key=_merit)
    return model, winner, [evaluation for _, evaluation in recovered]


def _merit(entry: tuple[nn.Module, Evaluation]) -> tuple[float, float]:
    quality, loss = entry[1].quality, entry[1].loss
    assert quality is not None
    assert loss is not None
    return quality, -loss
