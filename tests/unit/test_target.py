"""Targets are read, refused and written in one form."""

import os
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from autoprune.core.cores import usable_cores
from autoprune.core.target import DTYPES, Target
from autoprune.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("onnxruntime", Target("onnxruntime")),
        (
            "onnxruntime/threads=1/batch=8/dtype=float16/channels_last",
            Target("onnxruntime", 8, 1, "float16", True),
        ),
        (" torch-compile / channels_last = TRUE ", Target("torch-compile", channels_last=True)),
        ("pytorch/channels_last=false/batch=1", Target("pytorch")),
    ],
)
def test_a_target_is_read(text: str, target: Target) -> None:
    assert Target.parse(text) == target
    assert Target.parse(target) is target


def test_the_text_names_what_differs_from_the_defaults_in_a_fixed_order() -> None:
    assert str(Target("cuda")) == "cuda"
    text = "pytorch/channels_last/dtype=bfloat16/threads=2/batch=4"
    assert str(Target.parse(text)) == "pytorch/batch=4/threads=2/dtype=bfloat16/channels_last"


def test_every_target_is_read_back_from_its_text() -> None:
    texts = set()
    choices = product(["pytorch", "my.run_time-2"], [1, 8], [None, 1, 3], DTYPES, [False, True])
    for target in (Target(*choice) for choice in choices):
        assert Target.parse(str(target)) == target
        texts.add(str(target))
    assert len(texts) == 2 * 2 * 3 * 3 * 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"begins with the name of a runtime.* Got ''"),
        ("/batch=2", r"begins with the name of a runtime"),
        (
            "pytorch/thread=1",
            r"'thread' in the target .*Did you mean 'threads'",
        ),
        ("pytorch/xyz", r"Known: batch, channels_last, dtype, threads\."),
        ("pytorch/batch", r"'batch' of a target .*whole number.* Got ''"),
        ("pytorch/batch=0", r"at least 1\. Got 0"),
        ("pytorch/batch=-1", r"Got '-1'"),
        ("pytorch/batch=1.5", r"Got '1\.5'"),
        ("pytorch/threads=all", r"'threads' of a target .* Got 'all'"),
        ("pytorch/dtype=flaot16", r"float32, float16, bfloat16\. Got 'flaot16'\. .*'float16'"),
        ("pytorch/channels_last=yes", r"must be true or false\. Got 'yes'"),
        ("pytorch/batch=2/batch=2", r"gives 'batch' twice"),
    ],
)
def test_a_target_that_cannot_be_understood_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Target.parse(text)


@pytest.mark.parametrize("options", [{"batch": True}, {"threads": 2.0}, {"channels_last": 1}])
def test_values_of_another_type_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="of a target must be"):
        Target("pytorch", **options)


def test_without_threads_every_core_of_this_process_counts() -> None:
    assert Target("pytorch", threads=3).cores == 3
    assert Target("pytorch").cores == usable_cores()
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("files", "share"),
    [
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "max 100000\n"}, 64),
        ({"cpu.max": "broken"}, 64),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 64),
        ({}, 64),
    ],
)
def test_the_share_of_a_container_is_kept_to(
    files: dict[str, str], share: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert usable_cores(tmp_path) == share
