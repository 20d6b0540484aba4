"""Trials that were asked for, by whether there is anything to do for them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from optuna.trial import Trial

from autoprune.agent.loop.trials import was_given_back
from autoprune.agent.loop.underway import Underway
from autoprune.core.policy import Policy
from autoprune.storage.records import Evaluation


@dataclass
class Sifted:
    """Trials that were asked for.

    Args:
        new: Those whose policies are to be scored, each with its policy.
        scored: Those whose policies were given back and had been scored here after all, each with
            its evaluation.
        running: Those whose policies are being scored here, given back by an agent that took this
            one for dead.
        repeated: Those that repeat what was tried, for nothing else is left.
    """

    new: list[tuple[Trial, Policy]] = field(default_factory=list)
    scored: list[tuple[Trial, Evaluation]] = field(default_factory=list)
    running: list[Trial] = field(default_factory=list)
    repeated: list[Trial] = field(default_factory=list)

    @property
    def useless(self) -> list[Trial]:
        """Those for which there is nothing to do."""
        return [*self.running, *self.repeated]


def sifted(
    asked: Iterable[tuple[Trial, Policy]], scored: Mapping[str, Evaluation], underway: Underway
) -> Sifted:
    """Sort trials that were asked for.

    Args:
        asked: The trials and their policies.
        scored: Evaluations so far, by fingerprint of the policy.
        underway: What is being scored here.
    """
    found, names = Sifted(), set[str]()
    for trial, policy in asked:
        name = policy.fingerprint
        if not (name in names or policy in underway or name in scored):
            names.add(name)
            found.new.append((trial, policy))
        elif not was_given_back(trial):
            found.repeated.append(trial)
        elif name in scored:
            found.scored.append((trial, scored[name]))
        else:
            found.running.append(trial)
    return found
