"""A run that is finished and resumed with nothing new to do: its result, as it lies there."""

from pathlib import Path

from pydantic import ValidationError

from autoprune.agent.housing.workspace import ONNX, POLICY, RESULT
from autoprune.agent.request import Request
from autoprune.agent.results.result import SearchResult
from autoprune.artifacts.architecture import Architecture, load
from autoprune.artifacts.export import Exported
from autoprune.artifacts.files import sha256_of, write_text
from autoprune.artifacts.result import Result
from autoprune.core.policy import Policy
from autoprune.errors import InputError


def finished(request: Request) -> SearchResult | None:
    """Return the stored result if a resumed run would only come to it again, None otherwise.

    ``result.json`` is written last and taken away first, so where it is, what lies beside it was
    verified; weights and ONNX are compared with their sums. Where more is asked for than was
    done, or something is missing or was altered, the run goes on.

    Args:
        request: The request; its settings were found to be those of the run.
    """
    folder = request.out
    if request.if_exists != "resume" or not (folder / RESULT).is_file():
        return None
    try:
        result = Result.model_validate_json((folder / RESULT).read_text(encoding="utf-8"))
        policy = Policy.from_json((folder / POLICY).read_text(encoding="utf-8"))
        if _more_is_asked(request, result, folder):
            return None
        return SearchResult(folder, result, policy, load(folder, request.model))
    except (InputError, ValidationError, OSError, UnicodeDecodeError):
        return None


def _more_is_asked(request: Request, result: Result, folder: Path) -> bool:
    """Tell whether there are trials to come, or a file to be written that is not there."""
    if _trials(result) < request.trials:
        return True
    if request.onnx and not _has_onnx(result, folder):
        return True
    given = request.constructor
    return given is not None and Architecture.read(folder).constructor != given.to_dict(folder)


def _has_onnx(result: Result, folder: Path) -> bool:
    """Tell whether the ONNX file is there as it was checked; earlier versions kept no sum."""
    checks, path = result.checks, folder / ONNX
    if checks.onnx_max_diff is None or not path.is_file():
        return False
    return checks.onnx_sha256 is None or sha256_of(path) == checks.onnx_sha256


def record_onnx(folder: Path, exported: Exported) -> None:
    """Note that somebody exported the ONNX file of a result folder anew: it is no damaged one."""
    if exported.file.resolve() != (folder / ONNX).resolve():
        return
    try:
        result = Result.model_validate_json((folder / RESULT).read_text(encoding="utf-8"))
    except (ValidationError, OSError, UnicodeDecodeError):
        return  # a search that is resumed sees to it
    anew = {"onnx_sha256": exported.sha256, "onnx_max_diff": exported.max_diff}
    checks = result.checks.model_copy(update=anew)
    write_text(folder / RESULT, result.model_copy(update={"checks": checks}).to_json())


def _trials(result: Result) -> int:
    """Return how many trials lead to this result; a narrow bracket may take fewer than asked."""
    goal = result.goal
    return goal.trials if goal and goal.ended != "time" else result.search.evaluations
