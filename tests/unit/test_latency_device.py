"""A device is told apart by what latencies depend on, and not by its name."""

import platform
import socket
from pathlib import Path

import onnxruntime
import pytest
import torch

from autoprune.core.fingerprint import fingerprint
from autoprune.core.target import Target
from autoprune.cost.latency import device as module
from autoprune.cost.latency.device import this_device
from autoprune.errors import ConfigError

ARM = "processor\t: 0\nFeatures\t: fp asimd crc32 sve i8mm\nCPU implementer\t: 0x41\n"
X86 = "model name\t: Some   CPU @ 2GHz\nflags\t\t: fpu avx2 amx_tile fma\n\nmodel name\t: no\n"


def test_a_device_repeats_and_holds_no_name_of_the_machine() -> None:
    target = Target("onnxruntime", threads=1)
    device = this_device(target)
    assert device.fingerprint == this_device(target).fingerprint == fingerprint(dict(device.facts))
    assert device.facts["onnxruntime"] == onnxruntime.__version__
    assert device.facts["system"] == f"{platform.system()} {platform.machine()}"
    assert device.facts["cpu"]
    assert socket.gethostname() not in device.facts.values()


def test_the_batch_is_not_the_device_but_runtime_and_threads_are() -> None:
    one = this_device(Target("pytorch", threads=1))
    assert one.facts["torch"] == torch.__version__
    assert one == this_device(Target("pytorch", batch=4, threads=1))
    assert one.fingerprint != this_device(Target("pytorch", threads=2)).fingerprint
    assert one.fingerprint != this_device(Target("onnxruntime", threads=1)).fingerprint


@pytest.mark.parametrize(
    ("text", "cpu", "instructions"),
    [
        (X86, "Some CPU @ 2GHz", "amx_tile avx2 fma"),
        (ARM + "CPU part\t: 0xd40\nCPU variant\t: 0x1\n", "0x41 0xd40 0x1", "asimd i8mm sve"),
    ],
)
def test_linux_is_read(
    text: str, cpu: str, instructions: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(module, "_CPUINFO", tmp_path / "cpuinfo")
    facts = this_device(Target("pytorch")).facts
    assert (facts["cpu"], facts["instructions"]) == (cpu, instructions)


def test_other_systems_are_named_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CPUINFO", tmp_path / "missing")
    monkeypatch.setattr(platform, "processor", lambda: "")
    assert this_device(Target("pytorch")).facts["cpu"] == platform.machine()


def test_a_target_that_cannot_be_measured_here_has_no_device() -> None:
    with pytest.raises(ConfigError):
        this_device(Target("onnxruntime", dtype="float16"))
