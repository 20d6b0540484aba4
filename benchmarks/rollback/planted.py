"""Bad decisions planted in the best policy of a table: are they found, and only they?"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import optuna

from autoprune.agent.evaluating.evaluations import Evaluations
from autoprune.agent.evaluating.significance import chance_worse
from autoprune.agent.feasible.encoding import Rows
from autoprune.agent.loop.trials import Told, tell_all
from autoprune.agent.rollback.rollback import Rollback, told
from autoprune.agent.samplers.anchors import first_proposals
from autoprune.agent.samplers.budgeted import BudgetedSampler
from autoprune.core.ledger import LedgerEntry, Outcome
from autoprune.storage.ledger import Ledger
from autoprune.storage.records import Evaluation
from autoprune.storage.study_trials import begin_trials
from benchmarks.evaluations import evaluations_of
from benchmarks.isolated import Note
from benchmarks.search.tabled import errors_of, opened
from benchmarks.tables.network import Network, train
from benchmarks.tables.objective import TableObjective
from benchmarks.tables.recipes import RECIPES

HARMFUL = 1e-3  # p-value of a paired test that what was planted is worse than what was there
DRAWS = 50
SEEDS = (1001, 1002, 1003)


def examine(note: Note, table: str, planted: int, seeds: int, trials: int, first: int) -> None:
    """Plant bad decisions, examine the policy, and tell which decisions were reverted.

    Args:
        note: Told the facts, lists by case: bad decisions ``planted``, and of them ``found``:
            taken back, in part at least, by alternatives that a test believed; ``removed``, the
            share of the planted harm that is gone in the end; ``good``, other decisions that were
            examined, and of them ``reverted`` although that is no gain, judged anew with three
            other seeds.
        table: Name of the table, whose network is trained and whose best policy is used.
        planted: Bad decisions in each policy.
        seeds: How many cases.
        trials: Alternatives scored in each case, at most.
        first: The first seed.
    """
    objective, recipe = opened(table), RECIPES[table]
    network, splits = Network.of(recipe), recipe.data()
    train(network.model, splits, recipe.epochs)
    names = ("planted", "found", "removed", "good", "reverted")
    facts: dict[str, list[float]] = {name: [] for name in names}
    for seed in range(first, first + seeds):
        with evaluations_of(network.scorer(splits)) as evaluations:
            case = Case.of(objective, evaluations, seed)
            row, bad = case.plant(planted)
            if bad:
                found = case.facts(case.examined(row, trials), bad)
                for name, value in zip(names, found, strict=True):
                    facts[name].append(value)
        note(**facts)


@dataclass
class Case:
    """One policy that is examined.

    Args:
        objective: The table.
        evaluations: What scores policies.
        sampler: What proposes alternatives.
        study: What it learns from.
        rng: Draws what is planted.
        scored: Evaluations by fingerprint of the policy.
        good: Score of the policy before anything was planted.
    """

    objective: TableObjective
    evaluations: Evaluations
    sampler: BudgetedSampler
    study: optuna.Study
    rng: np.random.Generator
    scored: dict[str, Evaluation] = field(default_factory=dict)
    good: float = 0.0

    @classmethod
    def of(cls, objective: TableObjective, evaluations: Evaluations, seed: int) -> "Case":
        """Return a case about the best policy of a table."""
        projection, errors = objective.projection, errors_of(objective)
        sampler = BudgetedSampler(projection, seed, errors=errors)
        study = optuna.create_study(sampler=sampler)
        made = cls(objective, evaluations, sampler, study, np.random.default_rng(seed))
        for params in first_proposals(objective.network.plan, projection, errors):
            made.score(sampler.encoding.row(params), {})
        return made

    def plant(self, count: int) -> tuple[Rows, set[str]]:
        """Return the best policy with ``count`` units cut to the bone and as many left whole.

        What is planted is worse by a paired test; none is planted where no draw is.
        """
        encoding, table = self.sampler.encoding, self.objective.table
        best = self.objective.policies[int(table.loss[:, 0].argmin())]
        levels = np.array(list(self.objective.levels(best).values()))
        names = list(encoding.spaces)
        codes = [
            space.methods.index(best[name].method) if name in best else 0
            for name, space in encoding.spaces.items()
        ]
        good = self.evaluations.score(best)
        self.good = good.score or 0.0
        for _ in range(DRAWS):
            order = self.rng.permutation(len(levels))
            bad, whole = order[:count], order[count : 2 * count]
            row = np.concatenate([levels, codes])
            row[bad], row[whole] = encoding.levels[bad] - 1, 0
            if (levels[bad] == row[bad]).any() or not self.objective.projection.meets(
                row[None, : len(levels)]
            ):
                continue
            row[: len(levels)] = self._spent(row[: len(levels)], order[: 2 * count])
            if len(self.objective.projection.lowered(row[: len(levels)])):
                continue  # no search proposes what leaves so much of the budget
            harmed = self.evaluations.score(encoding.policy(row))
            chance = chance_worse(harmed.stages[-1], good.stages[-1]) if harmed.stages else None
            if chance is not None and chance < HARMFUL:
                return row, {names[at] for at in bad}
        return np.concatenate([levels, codes]), set()

    def _spent(self, levels: Rows, planted: Rows) -> Rows:
        """Let others take back what the budget leaves, as policies of searches do."""
        while True:
            lower = self.objective.projection.lowered(levels)
            able = [one for one in lower if (one == levels)[planted].all()]
            if not able:
                return levels
            levels = able[int(self.rng.integers(len(able)))]

    def facts(self, entries: Sequence[LedgerEntry], bad: set[str]) -> list[float]:
        """Return how many were planted, found, what was removed, good ones, wrongly reverted."""
        if not entries:  # no alternative to any decision costs as little
            return [len(bad), 0, 0.0, 0, 0]
        believed = [one for one in entries if one.outcome is Outcome.REVERTED]
        back = {unit for one in believed for unit in bad if _given_back(one, unit)}
        start, end = entries[0].score_before, (believed or entries)[-1]
        left = end.score_after if believed else start
        others = [one for one in entries if not bad & {*one.units}]
        wrong = sum(one.outcome is Outcome.REVERTED and not self._gains(one) for one in others)
        assert left is not None
        removed = (start - left) / (start - self.good)
        return [len(bad), len(back), removed, len(others), wrong]

    def _gains(self, entry: LedgerEntry) -> bool:
        """Tell whether an alternative is better with seeds that the search has not seen."""
        scorer = self.evaluations.scorer
        losses = [
            [
                replace(scorer, seed=seed).score(policy, scorer.recovery.steps_of_scores)[1].loss
                or 0.0
            ]
            for policy in (entry.policy, entry.alternative)
            for seed in SEEDS
        ]
        before, after = np.reshape(losses, (2, len(SEEDS))).mean(axis=1)
        return bool(after < before)

    def examined(self, row: Rows, trials: int) -> list[LedgerEntry]:
        """Examine the decisions of a policy, and of what it becomes, until all were."""
        ledger = Ledger(self.evaluations.database, self.evaluations.run_id)
        rollback = Rollback(ledger, self.objective.projection)
        self.score(row, {})
        for _ in range(trials):
            proposal = self.sampler.examine(self.study, row)
            if proposal is None:
                break
            entry = self.score(proposal.row, proposal.attributes, rollback)
            if entry is not None and entry.outcome is Outcome.REVERTED:
                row = proposal.row
        return ledger.entries()

    def score(
        self, row: Rows, attributes: dict[str, object], rollback: Rollback | None = None
    ) -> LedgerEntry | None:
        """Score a policy in a trial of the study; return what that tells of a decision."""
        encoding = self.sampler.encoding
        params = encoding.params(row)
        (trial,) = begin_trials(self.study, [params], self.sampler.space, [attributes])
        found = self.evaluations.score(encoding.policy(row))
        self.scored[found.policy.fingerprint] = found
        entry = rollback.judge_all([(trial, found)], self.scored)[0] if rollback else None
        costs = self.objective.projection.costs_of(found.policy).as_dict()
        tell_all([Told(trial, found, costs, told(entry))])
        return entry


def _given_back(entry: LedgerEntry, unit: str) -> bool:
    """Tell whether an alternative cuts a unit less."""
    before, after = (one.get(unit) for one in (entry.policy, entry.alternative))
    return before is not None and (after is None or after.sparsity < before.sparsity)
