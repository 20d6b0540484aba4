"""Trials of a study: begun with all that is proposed, ended with all that was found."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from autoprune.agent.encoding import Params
from autoprune.agent.outcomes import is_stopped
from autoprune.agent.samplers.base import PolicySampler, Proposal
from autoprune.agent.samplers.known import ENDED
from autoprune.artifacts.result import Predictions
from autoprune.predictor.prequential import Prediction, Reliability
from autoprune.storage.records import Evaluation
from autoprune.storage.study import ABANDONED, costs_of, start_trial

_PREDICTED = "predicted"


def ask(study: optuna.Study, sampler: PolicySampler) -> tuple[Trial, Params]:
    """Begin the next trial; it holds its parameters, their source and what is expected of it."""
    if sampler.needs_trial:
        trial = study.ask(sampler.space)
        return trial, dict(trial.params)
    proposal = sampler.propose(study)
    params = sampler.encoding.params(proposal.row)
    return start_trial(study, params, sampler.space, _attributes(proposal)), params


def tell(trial: Trial, found: Evaluation, costs: Mapping[str, float]) -> None:
    """End a trial with what was found, so that dashboards show it."""
    facts = {"outcome": found.outcome, "quality": found.quality, "costs": dict(costs)}
    for name, value in facts.items():
        trial.set_user_attr(name, value)
    if found.score is not None:
        trial.study.tell(trial, [found.score, *(costs[name] for name in costs_of(trial.study))])
    else:
        state = TrialState.PRUNED if is_stopped(found) else TrialState.FAIL
        trial.study.tell(trial, state=state)


def abandon(trial: Trial) -> None:
    """End a trial that tells nothing."""
    trial.set_user_attr("outcome", ABANDONED)
    trial.study.tell(trial, state=TrialState.FAIL)


def ended(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that came to an end by themselves, oldest first."""
    found = study.get_trials(deepcopy=False, states=ENDED)
    return [trial for trial in found if trial.user_attrs.get("outcome") != ABANDONED]


def reliability(study: optuna.Study) -> Predictions:
    """Return what predictions were worth, of the trials that were scored to the end."""
    made = [
        Prediction(**trial.user_attrs[_PREDICTED], score=trial.values[0])
        for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if _PREDICTED in trial.user_attrs and trial.values is not None
    ]
    return Predictions(**asdict(Reliability.of(made)))


def _attributes(proposal: Proposal) -> dict[str, Any]:
    found: dict[str, Any] = {"source": proposal.source}
    if proposal.expected is not None:
        found[_PREDICTED] = {n: getattr(proposal, n) for n in ("expected", "low", "high")}
    return found
