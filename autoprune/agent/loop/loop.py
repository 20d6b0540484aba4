"""Ask, evaluate, tell: the loop that scores policies until the trials or the time are used up."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import optuna
from optuna.trial import FrozenTrial, Trial

from autoprune.agent.evaluating.evaluations import Evaluations
from autoprune.agent.evaluating.scoring import Scoring
from autoprune.agent.feasible.encoding import Params, levels_of, policy_of
from autoprune.agent.feasible.projection import Projection
from autoprune.agent.housing.company import Alone, Company
from autoprune.agent.loop.early_stop import LEAST
from autoprune.agent.loop.ranking import Scored
from autoprune.agent.loop.sifted import sifted
from autoprune.agent.loop.tally import Tally
from autoprune.agent.loop.trials import Told, abandon, ask_all, ended, tell_all
from autoprune.agent.loop.underway import Underway
from autoprune.agent.loop.watches import best_inside, watches
from autoprune.agent.rollback.rollback import Rollback, told
from autoprune.agent.samplers.attributes import PLACE
from autoprune.agent.samplers.base import PolicySampler
from autoprune.core.policy import Policy
from autoprune.core.progress import Progress, ProgressCallback
from autoprune.core.workers import Crew
from autoprune.errors import ModelError
from autoprune.storage.own_trials import AGENT
from autoprune.storage.records import Evaluation
from autoprune.tasks.base import shown

_AT_ONCE = 64  # policies that are asked for before the first of them is given to a worker
_ANEW = "scores {count} earlier policies again: no score by this version of autoprune is stored"


@dataclass(kw_only=True)
class Loop:
    """Scores policies; all that were scored, in earlier sessions too, end up in ``scored``.

    Args:
        study: The Optuna study.
        sampler: What proposes policies: feasible ones only.
        evaluations: What knows scores and keeps them.
        crew: Who scores policies.
        rollback: What judges alternatives to decisions.
        trials: Evaluations to end with, those of earlier sessions included.
        timeout: Seconds after which no more is asked for, None for no limit. One evaluation is
            always made.
        progress: Told whenever evaluations came to their end.
        company: Others who work at the same time.
    """

    study: optuna.Study
    sampler: PolicySampler
    evaluations: Evaluations
    crew: Crew[Scoring, Evaluation]
    rollback: Rollback
    trials: int
    timeout: float | None
    progress: ProgressCallback
    company: Company = field(default_factory=Alone)
    scored: Scored = field(default_factory=Scored)
    _tally: Tally = field(default_factory=Tally)
    _seen: set[int] = field(default_factory=set)  # numbers of trials that ended
    _exhausted: bool = False  # whether the sampler has no policy left
    _start: float = 0.0
    _onward: str | None = None  # what this session goes on from, until it is told

    def __post_init__(self) -> None:
        self._underway = Underway(self.crew, self.evaluations, self.company)

    def run(self) -> list[Evaluation]:
        """Go on from where the study stands until there is nothing left to do.

        Returns:
            What was scored to the end, best score first.

        Raises:
            ModelError: If every policy failed.
            InfrastructureError: If workers do not live long enough to score anything.
            ElsewhereError: If another agent of the run has finished it.
        """
        self.help()
        self.company.finish()
        ranked = self.ranked()
        if not ranked:
            reason = next(iter(self.scored.values())).outcome
            raise ModelError(
                f"None of {len(self.scored)} pruned models could be scored. The first one "
                f"{reason} Mend the model's forward, or lower recovery.learning_rate if the loss "
                "is no number, and start afresh."
            )
        return ranked

    def help(self) -> int:
        """Score until there is nothing left to do, and leave it to others to finish the run.

        Returns:
            How many policies were scored, by all agents.
        """
        try:
            self._run()
        except ModelError:  # along a front another limit may be given the same workers
            for found in self._underway.rest():
                self._end(found)
            raise
        finally:
            self._underway.abandon()
        return len(self.scored)

    def recall(self) -> None:
        """Take in what was scored before, and start the clock if it does not run yet."""
        with self.company.turn():  # who has a turn is asking: that trial is nobody's to settle
            self._catch_up()
        if not self._start:
            self._start = time.monotonic()
            self._tally.fresh(self.evaluations.scorer.task)  # of earlier sessions
            if self.scored:
                self._onward = f"goes on from {len(self.scored)} evaluations that were kept"

    def _catch_up(self) -> int:
        """Take in what others did, and what they left; return how many trials they have."""
        new = ended(self.study, after=self._seen)
        for start in range(0, len(new), _AT_ONCE):
            self._recall(new[start : start + _AT_ONCE])
        dead, others = self.company.running(self.study, self._underway.numbers)
        for left in dead:
            self._settle(left)
        return others

    def _recall(self, trials: Sequence[FrozenTrial]) -> None:
        """Take in what trials that ended had scored, with one look at what is stored."""
        self._seen.update(trial.number for trial in trials)
        # Of a run that was begun when other units could be cut, some are no policies any more.
        able = [one for one in trials if one.params.keys() == self.sampler.space.keys()]
        told = [(trial, self._policy(trial.params)) for trial in able]
        known = self.evaluations.known_all([(policy, None) for _, policy in told])
        new = {policy for _, policy in told if policy.fingerprint not in self.scored}
        lost = new - known.keys()
        if lost:  # scoring them may take as long as it did then
            self._report(None, note=_ANEW.format(count=len(lost)))
        for trial, policy in told:
            if policy.fingerprint not in self.scored:
                self._keep(trial, known.get(policy) or self.evaluations.score(policy))
                if policy in lost:
                    self._report(None)

    def _settle(self, trial: Trial) -> None:
        """End a trial whose process died: by its score, if that was stored in time."""
        known = None
        if set(trial.params) == set(self.sampler.space):
            known = self.evaluations.known(self._policy(trial.params))
        if known is None or known.policy.fingerprint in self.scored:
            abandon(trial)
        else:
            self._end([(trial, known)])

    def _policy(self, params: Params) -> Policy:
        return policy_of(params, self.projection.spaces)

    def _run(self) -> None:
        self.recall()
        self._exhausted = False
        before, began = len(self.scored), time.monotonic()
        self._report(None, note=self._onward)
        self._onward = None
        others = self._begin()
        while self._underway or others:
            if not self._underway:
                time.sleep(self.company.look or 0.0)
            for found in self._underway.ended(self.company.look):
                self._end(found)
                pace = (time.monotonic() - began) / max(len(self.scored) - before, 1)
                self._report(pace)
            others = self._begin()

    def _begin(self) -> int:
        """Let all workers have something to do; return how many trials others have."""
        others = 0
        while (room := self._underway.room) and not self._exhausted and not self.late:
            with self.company.turn():
                others = self._catch_up() if self.company.look else 0
                left = self.trials - len(self.scored) - len(self._underway) - others
                if left <= 0:
                    break
                count = min(room, left, _AT_ONCE)
                asked = ask_all(self.study, self.sampler, count, self._signature)
            if not self._score(asked):
                break
        if self._exhausted and self.company.look and not self.late:  # others score the last ones
            with self.company.turn():
                others = self._catch_up()
        return others

    def _score(self, asked: Sequence[tuple[Trial, Params]]) -> bool:
        """Have trials scored, or end those whose policies were scored elsewhere.

        Returns:
            Whether all were of use.
        """
        told = [(trial, self._policy(params)) for trial, params in asked]
        found = sifted(told, self.scored, self._underway)
        for trial in found.useless:
            abandon(trial)
        least = max(LEAST, self.evaluations.scorer.finalists)
        own = watches([policy for _, policy in found.new], self.sampler, self.scored, least)
        known = self.evaluations.known_all(list(own.items()))
        jobs = [(trial, Scoring(policy, own[policy])) for trial, policy in found.new]
        self._underway.begin([one for one in jobs if one[1].policy not in known])
        stored = [(trial, known[job.policy]) for trial, job in jobs if job.policy in known]
        if found.scored or stored:
            self._end(found.scored + stored)
            self._report(None)
        if found.repeated:
            self._exhausted = True
            self._report(None, note="the sampler has no policy left that was not tried")
        return not found.useless

    @property
    def _signature(self) -> dict[str, str]:
        return {AGENT: self.company.name} if self.company.name else {}

    def ranked(self) -> list[Evaluation]:
        """Return what was scored to the end, neither failed nor stopped, best score first."""
        return list(self.scored.best_first())

    @property
    def late(self) -> bool:
        """Whether the time is over, counted from the first run."""
        used = time.monotonic() - self._start
        return self.timeout is not None and bool(self.scored) and used >= self.timeout

    @property
    def projection(self) -> Projection:
        """What is feasible."""
        return self.sampler.projection

    def _end(self, ended: Sequence[tuple[Trial, Evaluation]]) -> None:
        """Tell what became of trials."""
        places = []
        for trial, found in ended:
            self.scored[found.policy.fingerprint] = found
            self._seen.add(trial.number)
            places.append(self._place)
        judged = self.rollback.judge_all(ended, self.scored)
        for (trial, found), entry in zip(ended, judged, strict=True):
            self._tally.add(trial.number, found, trial.user_attrs | told(entry))
        tell_all(
            [
                Told(trial, found, self._costs(trial), told(entry) | place)
                for (trial, found), entry, place in zip(ended, judged, places, strict=True)
            ]
        )

    @property
    def _place(self) -> dict[str, int]:
        """What tells the place of the trial that ended last, unless other agents end some, too."""
        return {} if self.company.look else {PLACE: len(self._seen)}

    def _costs(self, trial: Trial) -> dict[str, float]:
        levels = levels_of(trial.params, self.projection.spaces)
        return self.projection.price(levels).as_dict()

    def _keep(self, trial: FrozenTrial, evaluation: Evaluation) -> None:
        self.scored[evaluation.policy.fingerprint] = evaluation
        self._tally.add(trial.number, evaluation, trial.user_attrs)

    def _report(self, pace: float | None, note: str | None = None) -> None:
        best = best_inside(self.scored, self.projection)
        left = self.trials - len(self.scored)
        share = None
        if best is not None:
            cost = self.projection.cost
            macs = cost.price(self.evaluations.scorer.kept(best.policy)).macs
            share = macs / cost.dense.macs
        self.progress(
            Progress(
                stage="search",
                done=len(self.scored),
                total=self.trials,
                best_quality=shown(self.evaluations.scorer.task, best.quality) if best else None,
                is_share=self.evaluations.scorer.task.is_share,
                best_loss=best.loss if best else None,
                feasible_macs=share,
                seconds_left=None if pace is None else pace * left,
                note=note,
                state=self._tally.state(self.projection, len(self._underway), self.crew.lost),
                ended=self._tally.fresh(self.evaluations.scorer.task),
            )
        )
