"""Notes, figures and artifacts in the form in which optuna-dashboard 0.21 keeps them.

It keeps them in the system attributes of a study, in pieces that a database can hold; as ours
come from no database, each is one piece.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from optuna.study._frozen import FrozenStudy
from plotly.graph_objects import Figure

from autoprune.reporting.dashboard.artifacts import (
    ReadOnlyArtifacts,
    files_of,
    policy_artifact,
)
from autoprune.reporting.dashboard.facts import Facts
from autoprune.reporting.dashboard.notable import notable
from autoprune.reporting.dashboard.study_note import study_note
from autoprune.reporting.dashboard.trial_note import trial_note
from autoprune.reporting.dashboard.trials import Shown
from autoprune.storage.study import SCORE

_NAMES = "study:metric_names"  # of the objectives
Figures = Callable[[Facts], Mapping[str, Figure]]


def additions(
    study: FrozenStudy, shown: Shown, name: str, store: ReadOnlyArtifacts, figures: Figures
) -> dict[str, Any]:
    """Return what is added to the system attributes of a study.

    Args:
        study: The study as it is stored; notes that people wrote stay below ours.
        shown: Its trials, and what is known of it.
        name: What it is called.
        store: Is told of the artifacts.
        figures: Returns the figures of a run by a name of letters and hyphens.
    """
    stored, number = study.system_attrs, study._study_id
    listed = shown.facts.listed
    files = list(files_of(listed.folder if listed else None))
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
        found |= _plots(figures(shown.facts))
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


def _plots(figures: Mapping[str, Figure]) -> dict[str, str]:
    return {f"dashboard:plot_data:{name}:0": one.to_json() for name, one in figures.items()}
