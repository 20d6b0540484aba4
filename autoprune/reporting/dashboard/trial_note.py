"""The note of a trial, in Markdown."""

from collections.abc import Iterator, Sequence

from optuna.trial import FrozenTrial

from autoprune.core.ledger import Outcome
from autoprune.core.policy import Policy
from autoprune.reporting.dashboard.artifacts import Artifact
from autoprune.reporting.dashboard.notable import decision, policy_rows
from autoprune.reporting.dashboard.trials import Shown
from autoprune.reporting.markdown import rendered
from autoprune.reporting.secrets import without_secrets
from autoprune.reporting.text import amount_text


def trial_note(
    study_id: int,
    shown: Shown,
    trial: FrozenTrial,
    reasons: Sequence[str],
    artifact: Artifact | None,
) -> str:
    """Return the note of a trial.

    Args:
        study_id: Number of its study in the database.
        shown: The trials of the study.
        trial: The trial.
        reasons: Why it has a note.
        artifact: Its policy as a file.
    """
    policy = shown.policies.get(trial.number)
    return rendered(
        "optuna/trial.md.j2",
        reasons=reasons,
        outcome=without_secrets(str(trial.user_attrs.get("outcome", ""))),
        figures=list(_figures(shown, trial)),
        examined=_examined(shown, policy),
        policy=policy_rows(policy, shown.facts.limits.spaces) if policy is not None else [],
        link=artifact and f"/artifacts/{study_id}/{trial._trial_id}/{artifact.id}",
        file=artifact.name if artifact else "",
    )


def _figures(shown: Shown, trial: FrozenTrial) -> Iterator[tuple[str, str]]:
    if trial.values:
        yield "score, lower is better", f"{trial.values[0]:.4g}"
    quality, yardstick = trial.user_attrs.get("quality"), shown.facts.yardstick
    if quality is not None:
        yield f"{yardstick.metric} on the search split", yardstick.text(quality)
    policy = shown.policies.get(trial.number)
    for final in shown.facts.finalists:
        if policy == final.policy and final.quality is not None:
            yield f"{yardstick.metric} after fine-tuning", yardstick.text(final.quality)
    costs = trial.user_attrs.get("costs")
    for cost, amount in costs.items() if isinstance(costs, dict) else ():
        dense = shown.facts.limits.dense.get(cost)
        share = f", {amount / dense:.1%} of the dense model's" if dense else ""
        yield cost, f"{amount_text(cost, amount)}{share}"
    for cost, by in shown.excess(trial).items():
        side = "over" if by > 0 else "inside"
        yield f"limit on {cost}", f"{side}, by {abs(by):.1%}"
    measured = shown.facts.limits.measured
    for cost, one in measured.get(policy.fingerprint if policy else "", {}).items():
        yield f"{cost}, measured", str(one["text"])


def _examined(shown: Shown, policy: Policy | None) -> str:
    """Return what became of decisions that a policy was an alternative to, and of its own."""
    said, yardstick = list[str](), shown.facts.yardstick
    for entry in shown.facts.ledger:
        if policy == entry.alternative:
            (units, regret, moved, outcome) = decision(entry, yardstick)
            told = f" (regret {regret}, {yardstick.metric} {moved})" if moved else ""
            said.append(
                f"An alternative to a decision of the best policy, {units}{told}: {outcome}."
            )
    made = [one for one in shown.facts.ledger if one.policy == policy]
    if made:
        taken = sum(one.outcome is Outcome.REVERTED for one in made)
        said.append(f"Of its decisions {len(made)} were examined and {taken} reverted.")
    return " ".join(said)
