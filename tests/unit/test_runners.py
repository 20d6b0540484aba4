"""Runners: read from YAML, applied to this process."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from autoprune._resources import names
from autoprune.core.secrets import holds_secret
from autoprune.core.workers import inline
from autoprune.errors import ConfigError
from autoprune.execution.runners import KINDS, LocalRunner, find_runner, load_runner, read_runner
from autoprune.execution.runners.base import Place


@pytest.fixture(autouse=True)
def _threads_kept() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", [name for name in names("runners", ".yaml") if "/" not in name])
def test_every_shipped_runner_is_valid(name: str) -> None:
    runner = read_runner(find_runner(name))
    assert isinstance(runner, KINDS[runner.kind])


def test_a_file_is_relative_to_the_base_and_is_applied(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("kind: local\ndevice: cpu\nthreads: 1\n")
    runner = load_runner("file:./mine.yaml", tmp_path)
    assert runner == LocalRunner(device="cpu", threads=1)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    with runner.applied() as place:
        assert place == Place("cpu", inline)
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def test_auto_leaves_the_threads_alone() -> None:
    before = torch.get_num_threads()
    with LocalRunner().applied() as place:
        assert place.device in ("cpu", "cuda")
        assert torch.get_num_threads() == before


@pytest.mark.parametrize(("gpus", "device"), [(0, "cpu"), (2, "cuda")])
def test_auto_takes_a_gpu_if_there_is_one(
    monkeypatch: pytest.MonkeyPatch, gpus: int, device: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert LocalRunner(device="auto").resolve_device() == device
    with pytest.raises(ConfigError, match=f"'cuda:5', but PyTorch sees {gpus} GPUs"):
        LocalRunner(device="cuda:5").resolve_device()


def test_an_unknown_name_is_suggested() -> None:
    with pytest.raises(ConfigError, match=r"Unknown runner 'locl'. Did you mean 'local'"):
        load_runner("locl")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: local\ndevise: cpu\n", r"mine\.yaml: unknown key 'devise'. Did you mean 'device'"),
        ("kind: local\ndevice: gpu\n", r"'device' must be auto, cpu, cuda or cuda:N. Got 'gpu'"),
        ("kind: local\nthreads: 0\n", r"'threads' must be auto or a number .*Got 0"),
        ("kind: local\nthreads: yes\n", r"'threads' must be auto or a number .*Got True"),
        ("device: cpu\n", r"the key 'kind' is missing"),
        ("kind: moon\n", r"mine\.yaml: unknown kind 'moon'. Known: .*local"),
        ("kind: lcal\n", r"mine\.yaml: unknown kind 'lcal'. Did you mean 'local'"),
    ],
)
def test_a_wrong_file_is_explained(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_runner("file:mine.yaml", tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "kind: local\ndevice: postgresql://me:hunter2@host/db\n",
        "kind: local\ndevice: [{a: 'postgresql+psycopg://me:hunter2@host/db'}]\n",
        "kind: local\ndevice: postgresql://me@server:hunter2@host/db\n",
        "kind: local\ndevice: postgresql://me:a/hunter2@host/db\n",
        "kind: local\ndevice: postgresql://host/db?user=me&password=hunter2\n",
        "kind: local\nwhatever: {deep: 'host=db password=hunter2'}\n",
        "kind: slurm\nenv: {TRACKER: 'https://h/?api_key=hunter2'}\n",
        "kind: slurm\nsetup: 'curl https://h/?a=b&client_secret=hunter2'\n",
    ],
)
def test_a_password_is_refused_and_not_repeated(tmp_path: Path, text: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ConfigError, match="holds a password or token") as caught:
        load_runner("file:mine.yaml", tmp_path)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "mylib @ git+https://host:8443/team/mylib.git@main",
        "docker://registry:5000/image@sha256:0a1b",
        "http://[::1]:8000/team@main",
        "ssh://git@host:22/team/mylib.git@main",
        "git+ssh://git@host:team/mylib.git@main",
        "https://host/?tokenizer=small&monkey=1&keyprefix=a",
    ],
)
def test_addresses_that_look_a_little_like_secrets_are_none(url: str) -> None:
    assert not holds_secret(url)


def test_a_url_without_a_password_is_no_secret(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("kind: local\ndevice: ray://host:10001\n")
    with pytest.raises(ConfigError, match="'device' must be"):
        load_runner("file:mine.yaml", tmp_path)
