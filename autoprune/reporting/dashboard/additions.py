"""Notes, figures and artifacts in the form in which optuna-dashboard 0.21 keeps them.

It keeps them in the system attributes of a study, in pieces that a database can hold; as ours
come from no database, each is one piece.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from optuna.study._frozen import FrozenStudy

from autoprune.agent.housing.workspace import PAGE
from autoprune.reporting.dashboard.artifacts import (
    Artifact,
    ReadOnlyArtifacts,
    files_of,
    made,
    policy_artifact,
)
from autoprune.reporting.dashboard.looked_at import LookedAt
from autoprune.reporting.dashboard.notable import notable
from autoprune.reporting.dashboard.plots import Plots, report_of
from autoprune.reporting.dashboard.study_note import study_note
from autoprune.reporting.dashboard.trial_note import trial_note
from autoprune.reporting.dashboard.trials import Shown
from autoprune.storage.study import SCORE

_NAMES = "study:metric_names"  # of the objectives


def additions(
    study: FrozenStudy, shown: Shown, name: str, store: ReadOnlyArtifacts, plots: Plots
) -> dict[str, Any]:
    """Return what is added to the system attributes of a study.

    Args:
        study: The study as it is stored; notes that people wrote stay below ours.
        shown: Its trials, and what is known of it.
        name: What it is called.
        store: Is told of the artifacts.
        plots: Makes its figures.
    """
    stored, number = study.system_attrs, study._study_id
    listed = shown.facts.listed
    files = _files(listed, shown)
    found = dict(_note(stored, "", study_note(name, number, shown, files)))
    found |= {f"artifacts:{one.id}": one.to_json() for one in files}
    for trial, reasons in notable(shown).values():
        policy = shown.policies.get(trial.number)
        own = None if policy is None else policy_artifact(number, trial.number, policy)
        place = f"{trial._trial_id}:"
        found |= _note(stored, place, trial_note(number, shown, trial, reasons, own))
        if own is not None:
            found[f"dashboard:artifacts:{place}{own.id}"] = own.to_json()
            store.known[own.id] = own
    store.known.update({one.id: one for one in files})
    if listed is not None:
        found |= {
            f"dashboard:plot_data:{name}:0": figure.to_json()
            for name, figure in plots.of(number, shown).items()
        }
        found.setdefault(_NAMES, stored.get(_NAMES) or [SCORE])
    return found


def _note(stored: Mapping[str, Any], place: str, body: str) -> Iterator[tuple[str, Any]]:
    """Yield the attributes of a note, with what people wrote of the same below it.

    Args:
        stored: The system attributes of the study.
        place: Empty for the study, the number of a trial and a colon for that.
        body: The note.
    """
    prefix = f"dashboard:{place}note_str:"
    theirs = {key: text for key, text in stored.items() if key.startswith(prefix)}
    written = "".join(str(theirs.get(f"{prefix}{at}", "")) for at in range(len(theirs)))
    yield f"dashboard:{place}note_ver", int(stored.get(f"dashboard:{place}note_ver", 0)) + 1
    yield f"{prefix}0", f"{body}\n\n---\n\n{written}" if written else body
    yield from ((key, "") for key in theirs if key != f"{prefix}0")


def _files(listed: LookedAt | None, shown: Shown) -> list[Artifact]:
    """Return the files of a run, with a report of one that has written none yet."""
    if listed is None:
        return []
    found = list(files_of(listed.folder))
    if any(one.name == PAGE for one in found) or not shown.trials:
        return found
    return [made(f"{listed.name} {PAGE}", PAGE, partial(report_of, listed)), *found]
