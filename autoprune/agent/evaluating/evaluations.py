"""Evaluations of one run: looked up before they are paid for, stored before they are used."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from functools import cached_property
from pathlib import Path

from autoprune.agent.evaluating.finalist import Finalist
from autoprune.agent.evaluating.outcomes import FAILED, OUTRUN, RECOVERED, is_stopped
from autoprune.agent.evaluating.scoring import Scoring
from autoprune.core.fingerprint import fingerprint
from autoprune.core.policy import Policy
from autoprune.evaluation.scoring.scorer import Scorer, Watch
from autoprune.storage.database import Database
from autoprune.storage.records import Evaluation, EvaluationKey


@dataclass(frozen=True, kw_only=True)
class Evaluations:
    """Scores policies through the database, so an identical policy is never scored twice.

    Args:
        database: Where evaluations are kept.
        run_id: The run in the database.
        scorer: What scores a policy.
        model_fp: Fingerprint of the dense model.
        data_fp: Fingerprint of the data.
        folder: Where weights of finalists are kept.
        shared: The database that runs share, where another run may have scored a policy.
    """

    database: Database
    run_id: int
    scorer: Scorer
    model_fp: str
    data_fp: str
    folder: Path
    shared: Database | None = None

    def score(self, policy: Policy, watch: Watch | None = None) -> Evaluation:
        """Return the score of a policy, stored or made in this process.

        ``outcome`` tells if it failed or was stopped early.

        Args:
            policy: What is scored.
            watch: Says after each stage why to stop, or None. Without it a stored evaluation is
                taken as it is, and a new one is not stopped.
        """
        known = self.known(policy, watch)
        return known or self.keep(Scoring(policy, watch).do(self.scorer))

    def known(self, policy: Policy, watch: Watch | None = None) -> Evaluation | None:
        """Return what is stored of a policy, None if it is to be scored; see `known_all`."""
        return self.known_all([(policy, watch)]).get(policy)

    def known_all(self, wanted: Sequence[tuple[Policy, Watch | None]]) -> dict[Policy, Evaluation]:
        """Return what is stored of policies, without those that are to be scored.

        Args:
            wanted: The policies, each with what says after each stage why to stop, or None: one
                that was stopped is to be scored anew where this would not stop it any more.
        """
        keys = {self._key(policy, self._steps): policy for policy, _ in wanted}
        found = self.database.find_evaluations(list(keys), payer=self.run_id)
        found |= self._of_others([key for key in keys if key not in found])
        known = {keys[key]: one for key, one in found.items()}
        watches = dict(wanted)
        return {policy: one for policy, one in known.items() if not _is_open(one, watches[policy])}

    def keep(self, found: Evaluation) -> Evaluation:
        """Store a score and return the stored one; see `keep_all`."""
        return self.keep_all([found])[0]

    def keep_all(self, found: Sequence[Evaluation]) -> list[Evaluation]:
        """Store scores and return the stored ones: those of whoever came to the end first."""
        keys = [self._key(one.policy, self._steps) for one in found]
        own = dict(zip(keys, found, strict=True))
        if self.shared is not None:
            told = {key: e for key, e in own.items() if not e.outcome.startswith(FAILED)}
            _recorded(self.shared, None, told)
        stored = _recorded(self.database, self.run_id, own)
        return [stored[key] for key in keys]

    def lease(self, policy: Policy) -> str:
        """Return what is taken by whoever scores a policy."""
        return f"score {fingerprint(astuple(self._key(policy, self._steps)))}"

    def _of_others(self, keys: Sequence[EvaluationKey]) -> dict[EvaluationKey, Evaluation]:
        """Return what other runs scored, which costs this one nothing."""
        if self.shared is None or not keys:
            return {}
        found = self.shared.find_evaluations(keys)
        free = {key: one.free() for key, one in found.items()}
        return self.database.record_evaluations(self.run_id, free)

    @cached_property
    def _way(self) -> str:
        return self.scorer.fingerprint(self._steps)

    @property
    def _steps(self) -> int:
        return self.scorer.recovery.steps_of_scores

    def finalist(self, policy: Policy, run: str = "") -> Finalist:
        """Return a policy as a finalist, with what an earlier session found of it.

        Its weights lie in the folder of the run, so other runs of a server do not share it.

        Args:
            policy: The policy.
            run: Name of the progressive run or the population that it comes from, if it does.
        """
        steps = self.scorer.recovery.recover_steps
        key = self._key(policy, -1 - steps)
        if run:  # what it is worth depends on the whole run
            key = replace(key, evaluator_fp=fingerprint([key.evaluator_fp, run]))
        if self.database.is_server:
            key = replace(key, evaluator_fp=fingerprint([key.evaluator_fp, self.run_id]))
        known = self.database.find_evaluation(key)

        def keep(found: Evaluation) -> None:
            self.database.replace_evaluation(self.run_id, key, found)

        return Finalist(self.scorer, policy, steps, self.folder, keep, known, run=run)

    def finalists(self) -> list[Evaluation]:
        """Return all that were fine-tuned further, in earlier sessions and in vain too."""
        stored = self.database.evaluations(self.run_id)
        return [one for one in stored if one.outcome.startswith((RECOVERED, OUTRUN))]

    def _key(self, policy: Policy, steps: int) -> EvaluationKey:
        way = self._way if steps == self._steps else self.scorer.fingerprint(steps)
        return EvaluationKey(self.model_fp, self.data_fp, policy.fingerprint, way)


def _recorded(
    database: Database, run_id: int | None, found: Mapping[EvaluationKey, Evaluation]
) -> dict[EvaluationKey, Evaluation]:
    """Return what is stored now: what was stopped early gives way."""
    stored = database.record_evaluations(run_id, found)
    for key, one in found.items():
        if is_stopped(stored[key]) and stored[key] != one:
            database.replace_evaluation(run_id, key, one)
            stored[key] = one
    return stored


def _is_open(known: Evaluation, watch: Watch | None) -> bool:
    """Tell whether an evaluation was stopped, and would not be by what is known now."""
    return is_stopped(known) and watch is not None and not _stops(watch, known)


def _stops(watch: Watch, known: Evaluation) -> bool:
    """Tell whether an evaluation that was stopped would be stopped again, by what is known now."""
    return any(watch(known.stages[: at + 1]) is not None for at in range(len(known.stages)))
