"""One finalist: fine-tuned as far as it gets, and kept where it got to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from autoprune.agent.evaluating.outcomes import OUTRUN, RECOVERED, candidate_errors
from autoprune.agent.evaluating.significance import chance_worse
from autoprune.agent.evaluating.stretch import Standing, Stretch, Trained, begun
from autoprune.artifacts.files import sha256_of
from autoprune.artifacts.weights import load_weights, save_weights
from autoprune.core.policy import Policy
from autoprune.core.stages import Stage
from autoprune.errors import ArtifactError, CandidateError
from autoprune.evaluation.scoring.candidate import Candidate
from autoprune.evaluation.scoring.scorer import Scorer
from autoprune.storage.records import Evaluation

_Costly = Candidate | Standing | Evaluation
_BY_CHANCE = 0.05  # that training which raised the loss so much did no harm


@dataclass
class Finalist:
    """A policy in the last round; what was found before is not found again.

    Where it has to go on from a step whose weights were not kept, it is trained from the start:
    that gives the same numbers. What a progressive run or a population made cannot be made so.

    Args:
        scorer: Builds and trains its model.
        policy: The policy.
        steps: Training steps to the end.
        folder: Where weights are kept.
        keep: Stores an evaluation in place of an older one.
        known: What an earlier session stored.
        candidate: Its model in training; None if that has not begun in this process.
        standing: Where a worker left its training; None if none has, or it went on here.
        run: Name of the progressive run or the population that made it; empty where none did.
    """

    scorer: Scorer
    policy: Policy
    steps: int
    folder: Path
    keep: Callable[[Evaluation], None]
    known: Evaluation | None
    candidate: Candidate | None = None
    standing: Standing | None = None
    run: str = ""

    def stage(self, steps: int) -> Stage | None:
        """Return what an earlier session found after ``steps``; None if it has to be trained."""
        if self.candidate is None and self.standing is None and self.known is not None:
            return next((stage for stage in self.known.stages if stage.steps == steps), None)
        return None

    def stretch(self, steps: int) -> Stretch:
        """Return what a worker has to do until ``steps`` are done."""
        state = self.standing.state if self.standing else None
        return Stretch(self.policy, self.steps, steps, state)

    def take(self, found: Trained) -> Stage:
        """Take in where a worker left the training, and return what it is worth there.

        Raises:
            CandidateError: If the worker could not get there.
        """
        self.standing = found.standing or self.standing
        if found.problem:
            raise CandidateError(found.problem)
        assert self.standing is not None
        return self.standing.stages[-1]

    def reach(self, steps: int) -> Stage:
        """Train until ``steps`` are done, and return what it is worth there.

        Raises:
            CandidateError: If it raises, or a loss becomes NaN or infinite.
        """
        known = self.stage(steps)
        if known is not None:
            return known
        with candidate_errors():
            candidate = self.candidate = self.candidate or self._begun()
            candidate.reach(steps)
        return candidate.stages[-1]

    def finish(self) -> tuple[nn.Module, Evaluation]:
        """Train to the end, keep the weights, and return the model and what it is worth.

        Where training has made it worse, and not just by chance, it is kept as it was cut.

        Raises:
            CandidateError: If it raises, or a loss becomes NaN or infinite.
            ArtifactError: If ``run`` made it and its weights are gone or altered.
        """
        stored = self.stored()
        if stored is not None:
            return stored
        with candidate_errors():
            candidate = self.candidate = self.candidate or self._begun()
            candidate.reach(self.steps)
        cut = self.as_cut() if self.steps and not self.run else candidate
        if _ruined(candidate.stages[-1], cut.stages[-1]):
            return self.keep_as_cut(cut)
        made = [candidate] if cut is candidate else [candidate, cut]
        return self._kept(candidate, candidate.stages, made)

    def as_cut(self) -> Candidate:
        """Return what it was before its training, measured; that of one go.

        Raises:
            CandidateError: If it raises, or the loss is NaN or infinite.
        """
        with candidate_errors():
            found = self.scorer.candidate(self.policy, self.steps, final=True)
            found.reach(0)
        return found

    def keep_as_cut(self, cut: Candidate) -> tuple[nn.Module, Evaluation]:
        """Keep the weights that it had before its training; return the model and what it is worth.

        Args:
            cut: What `as_cut` returned.
        """
        stored = self.stored()
        if stored is not None and undone(stored[1]):
            return stored
        trained = Standing.of(self.candidate) if self.candidate else self.standing or self.known
        if trained is None:
            return self._kept(cut, cut.stages, [cut])
        stages = [one for one in trained.stages if one.steps]
        return self._kept(cut, [*cut.stages, *stages], [cut, trained])

    def _kept(
        self, best: Candidate, stages: Sequence[Stage], made: Sequence[_Costly]
    ) -> tuple[nn.Module, Evaluation]:
        """Keep the weights of the best that was made of the policy; all of it was paid for."""
        found, path = best.reach(0), self.folder / weights_of(self.policy, self.run)
        sha256 = save_weights(best.model, path)
        self.known = Evaluation(
            self.policy,
            RECOVERED,
            found.loss,
            found.quality,
            sum(one.sample_forwards for one in made),
            sum(one.seconds for one in made),
            path.name,
            sha256,
            found.score,
            tuple(stages),
        )
        self.keep(self.known)
        return best.model, self.known

    def stored(self) -> tuple[nn.Module, Evaluation] | None:
        """Return what an earlier session came to, if its weights are still as recorded."""
        if self.known is None or self.known.weights is None:
            return None
        path, sha256 = self.folder / self.known.weights, self.known.weights_sha256
        if sha256 is None or not path.is_file() or sha256_of(path) != sha256:
            return None
        model = self.scorer.build(self.policy)
        load_weights(model, path, sha256)
        return model.eval(), self.known

    def leave(self, problem: str = "") -> None:
        """Keep how far it got.

        Args:
            problem: Why it can go no further; empty if it could.
        """
        known = self.known
        standing = Standing.of(self.candidate) if self.candidate else self.standing
        if standing is not None and (known is None or not _covers(known, standing)):
            why = problem or f"early stop after {standing.done} of {self.steps} steps"
            self.known = Evaluation(
                self.policy,
                f"{OUTRUN}: {why}",
                None,
                None,
                standing.sample_forwards,
                standing.seconds,
                stages=standing.stages,
            )
            self.keep(self.known)

    def _begun(self) -> Candidate:
        if self.run:
            raise ArtifactError(
                f"The weights {self.folder / weights_of(self.policy, self.run)}, which a "
                "progressive run or a population made, are missing or were altered. Put the file "
                "back, or start afresh."
            )
        state = None if self.standing is None else self.standing.state
        found = begun(self.scorer, self.policy, self.steps, state)
        self.standing = None
        return found


def weights_of(policy: Policy, run: str) -> str:
    """Return the name of the file of a finalist's weights."""
    return f"finalist-{policy.fingerprint[:12]}{run and f'-{run}'}.safetensors"


def run_of(weights: str) -> str:
    """Return the name of what made it, of the name of such a file; see `Finalist.run`."""
    return weights.removesuffix(".safetensors").partition("-")[2].partition("-")[2]


def undone(found: Evaluation) -> Stage | None:
    """Return what training had come to where the model is kept as it was cut; else None."""
    by_run = run_of(found.weights or "")  # a first leg, or round, may have no training step
    kept_as_cut = len(found.stages) > 1 and found.stages[0].steps == 0 and not by_run
    return found.stages[-1] if kept_as_cut else None


def _ruined(trained: Stage, cut: Stage) -> bool:
    """Tell whether training lowered the quality, and raised the loss by more than chance."""
    chance = chance_worse(trained, cut)
    return cut.rank < trained.rank and (chance is None or chance < _BY_CHANCE)


def _covers(known: Evaluation, standing: Standing) -> bool:
    return known.outcome == RECOVERED or known.stages == standing.stages
