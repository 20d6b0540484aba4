"""What samplers of policies share."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from threading import Lock
from typing import Any, ClassVar

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial

from autoprune.agent.feasible.encoding import Encoding, Params, Rows, distributions, levels_of
from autoprune.agent.feasible.projection import Projection
from autoprune.agent.feasible.rows import Feasible
from autoprune.agent.samplers.claims import claim
from autoprune.agent.samplers.history import History
from autoprune.agent.samplers.known import Known
from autoprune.agent.samplers.proposal import Proposal
from autoprune.core.fingerprint import seed_from
from autoprune.core.policy import Policy
from autoprune.errors import ConfigError
from autoprune.storage.study_trials import constrain

_CLAIMS = 8  # policies claimed, one after the other, where other processes claim the same


class PolicySampler(BaseSampler, ABC):
    """Proposes policies inside the budget, none twice; works in any Optuna study of one value.

    A proposal is a function of the seed and the trials so far, so a resumed search goes on as if
    it had never stopped: what was begun and not scored is proposed again, before anything else.
    Where nothing new is left, something that was tried is proposed. Threads may share one; it can
    be pickled.

    Args:
        projection: What is feasible.
        seed: Seed of the run.
        anchors: Parameters proposed first, after they are brought to the budget.
    """

    needs_trial: bool = False  # whether it writes to the trial it proposes for
    objectives: ClassVar[int] = 1  # of a study, at most
    goes_on: ClassVar[bool] = True  # whether it proposes all that is feasible before it repeats

    def __init__(self, projection: Projection, seed: int, anchors: Sequence[Params] = ()) -> None:
        self.projection = projection
        self.encoding = Encoding(projection.spaces)
        self.space = distributions(projection.spaces)
        self.feasible = Feasible(projection, self.encoding)
        self._seed = seed
        self._history = History(self.encoding)
        self._anchors = [self.encoding.wish(params) for params in anchors]
        self._lock = Lock()  # studies may be optimised by several threads

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled: a lock cannot be, and what was read is read again."""
        return {**self.__dict__, "_history": History(self.encoding), "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = Lock()

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the whole space: units are always proposed together."""
        return self.space

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> Params:
        """Return the parameters of the next policy, which others know of from now on."""
        with self._lock:
            for _ in range(_CLAIMS):
                proposal = self._proposed(study, trial)
                own = claim(study, trial, proposal.row)
                if own or proposal.source == "tried":  # nothing new is left
                    break
        for name, value in proposal.attributes.items():
            study._storage.set_trial_user_attr(trial._trial_id, name, value)
        for name, value in proposal.noted.items():
            study._storage.set_trial_system_attr(trial._trial_id, name, value)
        params = self.encoding.params(proposal.row)
        constrain(study, trial, self.constraints(params))
        return params

    def constraints(self, params: Params) -> dict[str, float]:
        """Return the limits of the budget as constraints of a trial, all of them kept.

        Each is the share by which a policy exceeds a limit: 0 or less.
        """
        return self.projection.excess(levels_of(params, self.projection.spaces))

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Draw a parameter that is no part of a policy at random."""
        sampler = RandomSampler(seed_from(self._seed, trial.number, param_name))
        return sampler.sample_independent(study, trial, param_name, param_distribution)

    def propose(self, study: Study, trial: FrozenTrial | None = None) -> Proposal:
        """Return the next policy.

        Args:
            study: What was tried.
            trial: The trial it is for; only samplers that ``needs_trial`` look at it.

        Raises:
            ConfigError: If the study has several objectives.
        """
        with self._lock:
            return self._proposed(study, trial)

    def propose_all(self, study: Study, count: int) -> list[Proposal]:
        """Return the next policies, all different; fewer where nothing new is left.

        Those that were begun before and given back come first. The last one repeats what was
        tried where nothing else is left. The first one is that of `propose`; they are a function
        of the seed, the trials so far and how many are asked for.

        Args:
            study: What was tried.
            count: How many.

        Raises:
            ConfigError: If the study has several objectives.
        """
        with self._lock:
            self._check_objectives(study)
            known = self._history.read(study)
            found = self._again(known)[:count]
            known = known.joined([(one.row, one.examines) for one in found])
            while len(found) < count:
                lot = self.proposals(study, known, known.started, count - len(found))
                known = known.joined([(one.row, one.examines) for one in lot])
                found += lot
                if lot[-1].source == "tried":
                    break
        return found

    def proposals(self, study: Study, known: Known, turn: int, most: int) -> list[Proposal]:
        """Return one or more of the next policies, given what is known.

        Args:
            study: What was tried.
            known: What is known of the study.
            turn: As for `proposal`.
            most: How many at most.
        """
        return [self.proposal(study, None, known, turn)]

    def _proposed(self, study: Study, trial: FrozenTrial | None) -> Proposal:
        self._check_objectives(study)
        known = self._history.read(study, trial.number if trial else 0)
        again = self._again(known)
        return again[0] if again else self.proposal(study, trial, known, known.started)

    def _again(self, known: Known) -> list[Proposal]:
        """Return what was begun and given back, as far as limits still allow it."""
        given = [Proposal.again(*one, self.encoding) for one in known.given_back]
        if not given:
            return []
        fits = self.feasible.meets(np.stack([one.row for one in given]))
        return [one for one, fit in zip(given, fits, strict=True) if fit]

    def _check_objectives(self, study: Study) -> None:
        count = len(study.directions)
        if count > self.objectives:
            raise ConfigError(
                f"autoprune's samplers compare policies by one value. This study has {count} "
                "objectives. Make them one, or give a study that has one: costs need no "
                "objective, the budget limits them."
            )

    def proposal(
        self, study: Study, trial: FrozenTrial | None, known: Known, turn: int
    ) -> Proposal:
        """Return the next policy, given what is known.

        Args:
            study: What was tried.
            trial: The trial it is for, as in `propose`.
            known: What is known of the study.
            turn: How many policies this sampler was asked for before: which anchors are left.
        """
        anchor = self._anchor(known, turn)
        if anchor is not None:
            return anchor
        rng = self._rng(known)
        found = self._next(study, trial, known, rng)
        if found is None and self.goes_on:
            tried = (*known.rows[::-1], *known.pending)
            near = self.feasible.neighbour(tried, known.tried, rng)
            found = None if near is None else Proposal(near, "neighbour")
        return found or Proposal(self._repeated(known), "tried")

    def _anchor(self, known: Known, turn: int) -> Proposal | None:
        """Return the next anchor that was not tried, None if there is none."""
        for row in map(self.feasible.projected, self._anchors[turn:]):  # limits may be tightened
            if row.tobytes() not in known.tried:
                return Proposal(row, "anchor")
        return None

    def _rng(self, known: Known) -> np.random.Generator:
        """Return what draws the next proposal."""
        return np.random.default_rng(seed_from(self._seed, known.started))

    def aim(self, policy: Policy) -> Projection:
        """Return the limits inside which a policy is compared with others."""
        return self.projection

    @abstractmethod
    def _next(
        self, study: Study, trial: FrozenTrial | None, known: Known, rng: np.random.Generator
    ) -> Proposal | None:
        """Return a feasible policy that was not tried yet, None if none is found."""

    def _repeated(self, known: Known) -> Rows:
        """Return what ended last inside the budget."""
        inside = known.rows[self.feasible.meets(known.rows)]
        return inside[-1] if len(inside) else self.feasible.uniform()
