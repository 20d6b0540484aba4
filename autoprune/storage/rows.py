"""Between the rows of the tables and the records handed out."""

import math
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from autoprune.core.policy import Policy
from autoprune.core.stages import Stage
from autoprune.storage.models import EvaluationRow, RunRow
from autoprune.storage.records import Evaluation, EvaluationKey, Run


def key_columns(key: EvaluationKey) -> dict[str, str]:
    """Return the values of a key by column."""
    return asdict(key)


def to_key(row: EvaluationRow) -> EvaluationKey:
    """Return the key of a stored evaluation."""
    return EvaluationKey(row.model_fp, row.data_fp, row.policy_fp, row.evaluator_fp)


def to_run(row: RunRow) -> Run:
    """Return the record of a stored run."""
    return Run(
        id=row.id,
        name=as_text(row.name),
        created_at=row.created_at,
        config=as_mapping(row.config),
        model_fp=row.model_fp,
        data_fp=row.data_fp,
        kept=as_mapping(row.kept),
        outcome=None if row.outcome is None else as_mapping(row.outcome),
    )


def evaluation_row(
    run_id: int | None, key: EvaluationKey, evaluation: Evaluation
) -> EvaluationRow:
    """Return a new row, numbers as plain floats, that was created just now."""
    return EvaluationRow(
        run_id=run_id,
        **key_columns(key),
        policy=evaluation.policy.to_dict(),
        outcome=evaluation.outcome,
        loss=as_float(evaluation.loss),
        quality=as_float(evaluation.quality),
        score=as_float(evaluation.score),
        stages=[stage.to_dict() for stage in evaluation.stages],
        sample_forwards=float(evaluation.sample_forwards),
        seconds=float(evaluation.seconds),
        weights=evaluation.weights,
        weights_sha256=evaluation.weights_sha256,
        created_at=datetime.now(UTC),
    )


def to_evaluation(row: EvaluationRow) -> Evaluation:
    """Return the record of a stored evaluation, checked like a new one."""
    return Evaluation(
        policy=Policy.from_dict(row.policy),
        outcome=row.outcome,
        loss=row.loss,
        quality=row.quality,
        sample_forwards=row.sample_forwards,
        seconds=row.seconds,
        weights=row.weights,
        weights_sha256=row.weights_sha256,
        score=row.score,
        stages=tuple(Stage.from_dict(stage) for stage in row.stages or ()),
    )


def as_float(number: float | None) -> float | None:
    """Return a number as a plain float; None stays.

    Raises:
        TypeError: If it is something else than a number or a text.
        ValueError: If it is a text that is no number, or not finite.
    """
    found = None if number is None else float(number)
    if found is not None and not math.isfinite(found):
        raise ValueError(f"{found} in place of a finite number")
    return found


def as_mapping(content: Any) -> dict[str, Any]:
    """Return a mapping as it is.

    Raises:
        TypeError: If it is none.
    """
    if not isinstance(content, dict):
        raise TypeError(f"{type(content).__name__} in place of a mapping")
    return content


def as_text(content: Any) -> str:
    """Return a text as it is; SQLite keeps anything in any column.

    Raises:
        TypeError: If it is none.
    """
    if not isinstance(content, str):
        raise TypeError(f"{type(content).__name__} in place of a text")
    return content
