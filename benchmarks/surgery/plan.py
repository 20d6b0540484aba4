"""What there is to do, in which order, and which code each result depends on."""

from collections.abc import Iterator

from benchmarks.provenance import code_of
from benchmarks.surgery import memory, ours, speed, theirs
from benchmarks.surgery.torch_pruning import install
from benchmarks.surgery.zoo import Model, zoo
from benchmarks.work import Task

LIMIT, RIVAL_LIMIT = 600.0, 60.0  # seconds of processor time of one stage
REPEATS, QUICK_REPEATS = 15, 5
_HERE = "benchmarks/surgery"
_COMMON = (f"{_HERE}/build.py", f"{_HERE}/right.py")
_SURGERY = ("autoprune/surgery", "autoprune/methods", f"{_HERE}/ours.py", *_COMMON)
_ARTIFACTS = ("autoprune/artifacts", "autoprune/cost", "autoprune/reporting/inventory.py")
_RIVAL = (f"{_HERE}/theirs.py", f"{_HERE}/torch_pruning.py", *_COMMON)
_BUILT = {
    "resnet50": Model(source="classification", name="resnet50", size=224),
    "deeplabv3": Model(source="segmentation", name="deeplabv3_resnet50", size=224),
    "mobilenetv3": Model(source="classification", name="mobilenet_v3_large", size=224),
    "vit_b_16": Model(source="classification", name="vit_b_16", size=224),
}


def tasks(*, quick: bool) -> list[Task]:
    """Return every task of the benchmark, what is timed first."""
    folder, models = str(install()), zoo(quick=quick)
    return [
        *_building(folder, QUICK_REPEATS if quick else REPEATS),
        *_ours(models),
        *_rival(models, folder, expert=True),
        *_rival(models, folder, expert=False),
    ]


def _building(folder: str, repeats: int) -> Iterator[Task]:
    code = code_of(f"{_HERE}/memory.py", *_SURGERY)
    model = {"model": _BUILT["resnet50"]}
    yield Task(
        kind="memory", name="resnet50", job=memory.measure, arguments=model, limit=LIMIT, code=code
    )
    code = code_of(f"{_HERE}/speed.py", *_SURGERY, *_RIVAL)
    for name, built in _BUILT.items():
        arguments = {"model": built, "folder": folder, "repeats": repeats}
        yield Task(
            kind="build", name=name, job=speed.measure, arguments=arguments, limit=LIMIT, code=code
        )


def _ours(models: list[Model]) -> Iterator[Task]:
    code = code_of(*_SURGERY, *_ARTIFACTS)
    for model in models:
        yield Task(
            kind="ours",
            name=model.title,
            job=ours.check,
            arguments={"model": model},
            limit=LIMIT,
            code=code,
        )


def _rival(models: list[Model], folder: str, *, expert: bool) -> Iterator[Task]:
    code = code_of(*_RIVAL)
    for model in models:
        yield Task(
            kind="theirs_expert" if expert else "theirs_obvious",
            name=model.title,
            job=theirs.check,
            arguments={"model": model, "folder": folder, "expert": expert},
            limit=RIVAL_LIMIT,
            code=code,
        )
