"""The best few by score are fine-tuned for longer; the best of those wins."""

import time
from collections.abc import Sequence

from torch import nn

from autoprune.agent.evaluations import Evaluations
from autoprune.core.progress import Progress, ProgressCallback
from autoprune.errors import CandidateError
from autoprune.storage.records import Evaluation


def recover_finalists(
    ranked: Sequence[Evaluation], evaluations: Evaluations, progress: ProgressCallback
) -> tuple[nn.Module, Evaluation, list[Evaluation]]:
    """Fine-tune the best few, and return the best model, its evaluation, and all of them.

    Quality on the search split decides, then loss. Finalists that diverge are replaced by the
    next in line.

    Raises:
        CandidateError: If every policy diverges, or there is none.
    """
    wanted = min(evaluations.scorer.recovery.finalists, len(ranked))
    recovered: list[tuple[nn.Module, Evaluation]] = []
    start = time.monotonic()
    for candidate in ranked:
        if len(recovered) == wanted:
            break
        try:
            recovered.append(evaluations.recover(candidate.policy))
        except CandidateError:
            continue
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
    if not recovered:
        raise CandidateError(
            f"None of {len(ranked)} scored policies gave a finite loss. Lower "
            "recovery.learning_rate, or check the model's loss on the training data."
        )
    model, winner = max(recovered, key=_merit)
    return model, winner, [evaluation for _, evaluation in recovered]


def _merit(entry: tuple[nn.Module, Evaluation]) -> tuple[float, float]:
    quality, loss = entry[1].quality, entry[1].loss
    assert quality is not None
    assert loss is not None
    return quality, -loss
