"""The best few by score are fine-tuned, fewer and fewer of them for longer; the best one wins."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from math import ceil

from torch import nn

from autoprune.agent.evaluating.evaluations import Evaluations
from autoprune.agent.evaluating.finalist import Finalist, undone
from autoprune.agent.finalists.side_by_side import Advance, in_turn
from autoprune.core.progress import Progress, ProgressCallback
from autoprune.core.stages import Stage
from autoprune.errors import BudgetError, CandidateError, ModelError
from autoprune.storage.records import Evaluation
from autoprune.tasks.base import shown

Accepts = Callable[[Evaluation, nn.Module], bool]
Recovered = tuple[nn.Module, Evaluation]
Recover = Callable[[Iterable[Evaluation], Evaluations, ProgressCallback, Accepts], Recovered]


def recover_finalists(
    ranked: Iterable[Evaluation],
    evaluations: Evaluations,
    progress: ProgressCallback,
    accepts: Accepts = lambda evaluation, model: True,
    *,
    advance: Advance = in_turn,
) -> Recovered:
    """Fine-tune the best few by successive halving; return the best model and its evaluation.

    All go a part of the way, the better half of them twice as far, and so on to the end (Jamieson
    and Talwalkar 2016, arXiv:1502.07943). Quality on the search split decides, then loss. Each
    follows the one learning rate schedule of the whole way, so to stop early costs nothing that
    another way would have saved.

    A finalist that diverges at the start is replaced by the next in line. Where the winner is not
    accepted, those that got furthest follow, then the next in line.

    Args:
        ranked: Candidates, best first.
        evaluations: What trains them, and keeps what is found.
        progress: Told of each that reaches a rung.
        accepts: Tells whether a fine-tuned model may win.
        advance: Trains finalists to a rung; a user's own training function runs here all the
            same.

    Raises:
        ModelError: If none could be fine-tuned.
        BudgetError: If all that could be were not accepted.
    """
    own = evaluations.scorer.recover
    race = _Race(iter(ranked), evaluations, progress, advance if own is None else in_turn)
    missed = False
    for finalist in race.order():
        try:
            model, found = finalist.finish()
        except CandidateError as err:
            race.failed(finalist, err)
            continue
        if accepts(found, model):
            for one in race.started:
                one.leave()
            return race.best_as_cut((model, found), accepts) if undone(found) else (model, found)
        missed = True
    if missed:
        raise BudgetError(
            "Every pruned model that was fine-tuned missed a limit when it was measured once "
            "more, though it was inside before. What was scored is kept: resume when the device "
            "is less busy, or start afresh with a higher limit."
        )
    mend = (
        f"Mend {own.name!r} and resume."
        if own
        else "Lower recovery.learning_rate and start afresh."
    )
    raise ModelError(
        f"None of the {race.tried} pruned models that were scored could be fine-tuned. The "
        f"last problem: {race.problem} {mend}"
    )


def rungs(steps: int, finalists: int) -> list[int]:
    """Return after how many training steps half of those left stop, the end included."""
    halvings = (finalists - 1).bit_length()
    return sorted({max(steps >> left, min(steps, 1)) for left in range(halvings + 1)})


@dataclass
class _Race:
    """Who is how far.

    Args:
        line: Candidates, best first.
        evaluations: What trains them.
        progress: Told of each who reaches a rung.
        advance: Trains some to a rung.
        started: Everybody who got somewhere.
        tried: How many were taken from the line.
        problem: Why the last one who could not be trained could not.
    """

    line: Iterator[Evaluation]
    evaluations: Evaluations
    progress: ProgressCallback
    advance: Advance
    started: list[Finalist] = field(default_factory=list)
    tried: int = 0
    problem: str = ""
    _reached: list[Stage] = field(default_factory=list)
    _trained: float = 0.0  # seconds; the line may measure candidates, which takes its own

    def order(self) -> Iterator[Finalist]:
        """Run the race, and yield who comes first, second and so on; then who stands in line."""
        first, *later = self._rungs()
        finalists = self.evaluations.scorer.finalists
        running = sorted(self._entrants(first, finalists), key=_rank)
        out: list[Finalist] = []
        for rung in later:
            half = ceil(len(running) / 2)
            out = [one for one, _ in running[half:]] + out
            for one, _ in running[half:]:
                one.leave()
            running = sorted(self._reach([one for one, _ in running[:half]], rung), key=_rank)
        yield from (one for one, _ in running)
        yield from out
        for one, _ in self._entrants(first, None):
            yield one

    def _rungs(self) -> list[int]:
        """Return where to compare; a user's own training function cannot pause on the way."""
        scorer = self.evaluations.scorer
        halved = scorer.finalists if scorer.recover is None else 1
        return rungs(scorer.recovery.recover_steps, halved)

    def _entrants(self, rung: int, count: int | None) -> Iterator[tuple[Finalist, Stage]]:
        """Yield those in line who get to the first rung, ``count`` at most."""
        while wanted := 1 if count is None else count - len(self.started):
            wave = [self.evaluations.finalist(one.policy) for one in islice(self.line, wanted)]
            if not wave:
                return
            self.tried += len(wave)
            for finalist, stage in self._reach(wave, rung):
                self.started.append(finalist)
                yield finalist, stage

    def _reach(self, finalists: Sequence[Finalist], rung: int) -> list[tuple[Finalist, Stage]]:
        """Train finalists to a rung; return those that got there, in their order."""
        there: dict[int, Stage] = {}
        since = time.monotonic()
        for at, found in self.advance(finalists, rung):
            self._trained, since = self._trained + time.monotonic() - since, time.monotonic()
            if isinstance(found, CandidateError):
                self.failed(finalists[at], found)
            else:
                there[at] = found
                self._reached.append(found)
                self._tell()
        return [(finalists[at], there[at]) for at in sorted(there)]

    def failed(self, finalist: Finalist, err: CandidateError) -> None:
        """Take in that one cannot be trained; what that took is kept."""
        self.problem = str(err)
        finalist.leave(self.problem)

    def best_as_cut(self, winner: Recovered, accepts: Accepts) -> Recovered:
        """Return who is best without its training, where that has ruined the winner's.

        How well they were trained tells nothing of them then, and none ended better than the
        winner was before.
        """
        for finalist in self.started:
            if finalist.policy == winner[1].policy:
                continue
            try:
                cut = finalist.as_cut()
            except CandidateError:
                continue
            if cut.stages[-1].rank < winner[1].stages[0].rank:
                model, found = finalist.keep_as_cut(cut)
                winner = (model, found) if accepts(found, model) else winner
        return winner

    def _tell(self) -> None:
        finalists = self.evaluations.scorer.finalists
        done, total = len(self._reached), _visits(len(self._rungs()), finalists)
        furthest = max(stage.steps for stage in self._reached)
        reached = (stage for stage in self._reached if stage.steps == furthest)
        best = min(reached, key=lambda stage: stage.rank)
        pace = self._trained / done
        self.progress(
            Progress(
                stage="recover",
                done=done,
                total=max(total, done),
                best_quality=shown(self.evaluations.scorer.task, best.quality),
                is_share=self.evaluations.scorer.task.is_share,
                best_loss=best.value,
                seconds_left=pace * max(total - done, 0),
            )
        )


def _visits(count: int, finalists: int) -> int:
    """Return how often a finalist reaches one of ``count`` rungs, if none fails."""
    return sum(ceil(finalists / 2**at) for at in range(count))


def _rank(entry: tuple[Finalist, Stage]) -> tuple[float, float]:
    return entry[1].rank
