"""Trials of a study: begun with all that is proposed, ended with all that was found."""

import math
from collections.abc import Container, Mapping
from dataclasses import asdict
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from autoprune.agent.encoding import Params
from autoprune.agent.outcomes import is_stopped
from autoprune.agent.samplers.attributes import SCREENING, prediction_of
from autoprune.agent.samplers.base import PolicySampler
from autoprune.agent.samplers.history import ENDED
from autoprune.artifacts.result import Predictions
from autoprune.predictor.prequential import Prediction, Reliability, Savings, Screening
from autoprune.storage.patience import patient
from autoprune.storage.records import Evaluation
from autoprune.storage.study import ABANDONED, costs_of, report_stages, start_trial


@patient
def ask(
    study: optuna.Study, sampler: PolicySampler, attributes: Mapping[str, Any] | None = None
) -> tuple[Trial, Params]:
    """Begin the next trial; it holds its parameters, their source and what is expected of it.

    The limits of the budget are its constraints.

    Args:
        study: The study.
        sampler: What proposes.
        attributes: What else the trial holds.
    """
    attributes = attributes or {}
    if sampler.needs_trial:
        trial = study.ask(sampler.space)
        for name, value in attributes.items():
            trial.set_user_attr(name, value)
        return trial, dict(trial.params)
    proposal = sampler.propose(study)
    params = sampler.encoding.params(proposal.row)
    told, kept = {**proposal.attributes, **attributes}, sampler.constraints(params)
    return start_trial(study, params, sampler.space, told, kept), params


@patient
def tell(trial: Trial, found: Evaluation, costs: Mapping[str, float]) -> None:
    """End a trial with what was found, so that dashboards show it."""
    report_stages(trial, [stage.value for stage in found.stages])
    facts = {"outcome": found.outcome, "quality": found.quality, "costs": dict(costs)}
    for name, value in facts.items():
        trial.set_user_attr(name, value)
    if found.score is not None:
        values = [found.score, *(costs[name] for name in costs_of(trial.study))]
        trial.study.tell(trial, values, skip_if_finished=True)
    else:
        state = TrialState.PRUNED if is_stopped(found) else TrialState.FAIL
        trial.study.tell(trial, state=state, skip_if_finished=True)


@patient
def abandon(trial: Trial) -> None:
    """End a trial that tells nothing."""
    trial.set_user_attr("outcome", ABANDONED)
    trial.study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)


@patient
def ended(study: optuna.Study, after: Container[int] = ()) -> list[FrozenTrial]:
    """Return the trials that came to an end by themselves, oldest first, but those known."""
    found = study.get_trials(deepcopy=False, states=ENDED)
    return [
        trial
        for trial in found
        if trial.number not in after and trial.user_attrs.get("outcome") != ABANDONED
    ]


def reliability(study: optuna.Study) -> Predictions:
    """Return what predictions were worth, and what screening by them saved."""
    trials = [(trial, _prediction(trial)) for trial in ended(study)]
    scored = [made for trial, made in trials if made and trial.state == TrialState.COMPLETE]
    screened = [
        (Screening(**trial.user_attrs[SCREENING]), made)
        for trial, made in trials
        if made and SCREENING in trial.user_attrs
    ]
    savings = Savings.of(screened)
    return Predictions(
        **asdict(Reliability.of(scored)),
        ranked=sum(not one.audit for one, _ in screened),
        **asdict(savings),
        wrong_at_most=savings.wrong_at_most,
    )


def _prediction(trial: FrozenTrial) -> Prediction | None:
    """Return what was expected of a trial; what failed or was stopped is worse than any score."""
    scored = trial.state == TrialState.COMPLETE and trial.values is not None
    return prediction_of(trial, trial.values[0] if scored else math.inf)
