"""Bad decisions planted in the best policy of a table: are they found, and only they?"""

from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import optuna

from autoprune.agent.anchors import first_proposals
from autoprune.agent.encoding import Rows
from autoprune.agent.evaluations import Evaluations
from autoprune.agent.judge import chance_worse
from autoprune.agent.rollback import Rollback
from autoprune.agent.samplers.budgeted import BudgetedSampler
from autoprune.agent.trials import tell
from autoprune.core.ledger import LedgerEntry, Outcome
from autoprune.storage.database import Database
from autoprune.storage.engine import sqlite_url
from autoprune.storage.ledger import Ledger
from autoprune.storage.records import Evaluation
from autoprune.storage.study import start_trial
from benchmarks.isolated import Note
from benchmarks.search.tabled import errors_of, opened
from benchmarks.tables.network import Network, train
from benchmarks.tables.objective import TableObjective
from benchmarks.tables.recipes import RECIPES

HARMFUL = 1e-3  # p-value of a paired test that what was planted is worse than what was there
DRAWS = 50


def examine(note: Note, table: str, planted: int, seeds: int, trials: int, first: int) -> None:
    """Plant bad decisions, examine the policy, and tell which decisions were reverted.

    Args:
        note: Told the facts, lists by case: ``planted``, ``found`` of them, ``good`` decisions,
            ``reverted`` of those; and ``evaluations``.
        table: Name of the table, whose network is trained and whose best policy is used.
        planted: Bad decisions in each policy.
        seeds: How many cases.
        trials: Alternatives scored in each case, at most.
        first: The first seed.
    """
    objective = opened(table)
    recipe = RECIPES[table]
    network, splits = Network.of(recipe), recipe.data()
    train(network.model, splits, recipe.epochs)
    facts: dict[str, list[int]] = {
        name: [] for name in ("planted", "found", "good", "reverted", "evaluations")
    }
    for seed in range(first, first + seeds):
        with (
            TemporaryDirectory() as folder,
            Database.open(sqlite_url(Path(folder) / "a.db")) as db,
        ):
            case = Case.of(
                objective,
                network,
                Evaluations(
                    database=db,
                    run_id=db.start_run("planted", {}, "m", "d"),
                    scorer=network.scorer(splits),
                    model_fp="m",
                    data_fp="d",
                    folder=Path(folder),
                ),
                seed,
            )
            row, bad = case.plant(planted)
            if not bad:
                continue
            entries = case.examined(row, trials)
        reverted = {u for e in entries if e.outcome is Outcome.REVERTED for u in e.units}
        decided = {name for name, level in zip(objective.spaces, row, strict=False) if level}
        facts["planted"].append(len(bad))
        facts["found"].append(len(bad & reverted))
        facts["good"].append(len(decided - bad))
        facts["reverted"].append(len(reverted - bad))
        facts["evaluations"].append(len(entries))
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
    """

    objective: TableObjective
    evaluations: Evaluations
    sampler: BudgetedSampler
    study: optuna.Study
    rng: np.random.Generator
    scored: dict[str, Evaluation] = field(default_factory=dict)

    @classmethod
    def of(
        cls, objective: TableObjective, network: Network, evaluations: Evaluations, seed: int
    ) -> "Case":
        """Return a case about the best policy of a table."""
        sampler = BudgetedSampler(objective.projection, seed, errors=errors_of(objective))
        study = optuna.create_study(sampler=sampler)
        made = cls(objective, evaluations, sampler, study, np.random.default_rng(seed))
        for params in first_proposals(network.plan, objective.projection, errors_of(objective)):
            made.score(made.sampler.encoding.row(params), {})
        return made

    def plant(self, count: int) -> tuple[Rows, set[str]]:
        """Return the best policy with ``count`` units cut to the bone and as many left whole.

        What is planted is worse by a paired test; none is planted where no draw is.
        """
        encoding = self.sampler.encoding
        levels = np.array(list(self.objective.levels(self.objective.optimum()).values()))
        names, best = list(encoding.spaces), self.objective.optimum()
        codes = [
            space.methods.index(best[name].method) if name in best else 0
            for name, space in encoding.spaces.items()
        ]
        good = self.evaluations.score(best)
        for _ in range(DRAWS):
            order = self.rng.permutation(len(levels))
            bad, whole = order[:count], order[count : 2 * count]
            row = np.concatenate([levels, codes])
            row[bad], row[whole] = encoding.levels[bad] - 1, 0
            if (levels[bad] == row[bad]).any() or not self.objective.projection.meets(
                row[None, : len(levels)]
            ):
                continue
            harmed = self.evaluations.score(encoding.policy(row))
            chance = chance_worse(harmed.stages[-1], good.stages[-1]) if harmed.stages else None
            if chance is not None and chance < HARMFUL:
                return row, {names[at] for at in bad}
        return np.concatenate([levels, codes]), set()

    def examined(self, row: Rows, trials: int) -> list[LedgerEntry]:
        """Examine the decisions of a policy, and of what it becomes, until all were."""
        ledger = Ledger(self.evaluations.database, self.evaluations.run_id)
        projection, encoding = self.objective.projection, self.sampler.encoding
        rollback = Rollback(ledger, encoding, projection)
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
        trial = start_trial(self.study, params, self.sampler.space, attributes)
        found = self.evaluations.score(encoding.policy(row))
        self.scored[found.policy.fingerprint] = found
        entry = rollback.judge(trial, found, self.scored) if rollback else None
        tell(trial, found, self.objective.projection.costs_of(found.policy).as_dict())
        return entry
