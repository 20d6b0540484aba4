"""Whole searches on Fashion-MNIST: what was reached after how much compute."""

import shutil
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import autoprune
from autoprune.agent.housing.workspace import DATABASE, STUDY
from autoprune.space.schema import SearchSpace
from autoprune.storage.database import Database
from autoprune.storage.engine import sqlite_url
from autoprune.storage.records import Evaluation
from benchmarks.group import Group
from benchmarks.isolated import Note
from benchmarks.networks import dense, task
from benchmarks.search.ablated import register
from benchmarks.search.judged import Judge

SPACE = SearchSpace.model_validate(
    {
        "schema": 1,
        "methods": ["channel.l1", "channel.l2", "channel.taylor", "block.drop"],
        "sparsities": [at / 16 for at in range(1, 15)],
    }
)
FEWER = 3  # finalists of TPE's searches, the default when they were made
JUDGED_AT = (10, 20, 30, 40, 60, 80, 100)  # evaluations; longer searches at their end only


def prepare(note: Note, model: str) -> None:
    """Train a dense network, if that was not done before.

    Args:
        note: Told when it is there.
        model: Its name.
    """
    note(stage="train")
    dense(model)
    note(stage="trained")


def search(
    note: Note,
    model: str,
    share: float,
    sampler: str,
    seed: int,
    trials: int,
    folder: str,
    **options: Any,
) -> None:
    """Search, and tell after how much compute each better policy was found, and its worth.

    What was cut off goes on where it was.

    Args:
        note: Told the facts: ``trace``, a list of evaluations, sample forwards, score and
            quality of each evaluation that was the best so far, the sensitivity table's cost
            included; ``judged``, rows of `Judge`; and totals.
        model: Name of the network.
        share: Limit on MACs, as a share of the dense ones.
        sampler: Name of the sampler.
        seed: Seed of the search.
        trials: Policies scored.
        folder: Where the run is kept until it is judged.
        options: ``sensitivity``, ``stages``, ``reconstruct`` and ``score_by``, where they differ
            from the default. ``tpe`` has nothing reconstructed unless told to, and fewer
            finalists then; where nothing is reconstructed the loss is the score.
    """
    register()
    stages = {} if options.get("stages", True) else {"stages": ()}
    reconstruct = bool(options.get("reconstruct", sampler != "tpe"))
    recovery = autoprune.Recovery(
        recover_steps=0,
        finalists=1,
        reconstruct=reconstruct,
        score_by=options.get("score_by", None if reconstruct else "loss"),
        **stages,  # type: ignore[arg-type]
    )
    out = Path(folder) / "run"
    found = autoprune.search(
        dense(model),
        task=task(),
        budget=f"macs={share:.0%}",
        space=SPACE,
        trials=trials,
        seed=seed,
        out=out,
        if_exists="resume",
        recovery=recovery,
        onnx=False,
        database=str(Path(folder) / "shared.db"),
        sampler=sampler,
        sensitivity=bool(options.get("sensitivity", True)),
        progress=lambda event: note(stage=event.stage, done=event.done),
    )
    with closing(Database.open(sqlite_url(out / DATABASE))) as database:
        run = database.find_run(STUDY)
        assert run is not None
        made = [e for e in database.evaluations(run.id) if not e.outcome.startswith("recov")]
    cost = found.result.search
    note(trace=trace(made, cost.sensitivity_forwards), units=len(found.result.cuts))
    note(
        evaluations=len(made),
        stopped=cost.stopped,
        sensitivity_forwards=cost.sensitivity_forwards,
        sample_forwards=cost.sensitivity_forwards + sum(e.sample_forwards for e in made),
        predictions=cost.predictions.model_dump(),
        scoring_s=sum(e.seconds for e in made),
    )
    note(stage="judge")
    group = Group.of(model, f"{share:.0%}", SPACE)
    bare = sampler == "tpe" and not reconstruct
    finalists = FEWER if bare else autoprune.Recovery().finalists_if(halved=True)
    judge = Judge(group, seed, cost.sensitivity_forwards, finalists)
    counts = [at for at in JUDGED_AT if at < len(made) <= JUDGED_AT[-1]]
    judged = []
    for row in judge.rows(made, [*counts, len(made)]):
        judged.append(row)
        note(judged=judged)
    shutil.rmtree(folder)


def trace(made: Sequence[Evaluation], before: float) -> list[list[float | None]]:
    """Return number, sample forwards, score and quality of each evaluation that was a new best."""
    found: list[list[float | None]] = []
    best = float("inf")
    for count, evaluation in enumerate(made, 1):
        before += evaluation.sample_forwards
        if evaluation.score is not None and evaluation.score < best:
            best = evaluation.score
            found.append([count, before, best, evaluation.quality])
    return found
