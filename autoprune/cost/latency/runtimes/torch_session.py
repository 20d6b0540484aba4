"""A forward in this process, by PyTorch."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from autoprune.errors import ModelError
from autoprune.surgery.accept import forward_error
from autoprune.surgery.nested import Inputs, call, floats_in


class TorchSession:
    """A session whose forward is a Python callable.

    Args:
        forward: The model, or what was made of it.
        inputs: Its arguments, where they belong.
        threads: Threads of PyTorch on the CPU.
        wait: Waits until the device has done what it was given.
    """

    def __init__(
        self,
        forward: Callable[..., Any],
        inputs: Inputs,
        threads: int,
        wait: Callable[[], object] = lambda: None,
    ) -> None:
        self._forward, self._inputs = forward, inputs
        self._threads, self._wait = threads, wait

    def run(self) -> None:
        """Do one forward, and wait for the device."""
        self._run()

    def outputs(self) -> list[torch.Tensor]:
        """Return the floating-point outputs of one forward, on the CPU, in single precision."""
        return [x.to("cpu", torch.float32) for x in floats_in(self._run())]

    def _run(self) -> Any:
        if torch.get_num_threads() != self._threads:  # another session was run in between
            torch.set_num_threads(self._threads)
        with torch.inference_mode():
            out = call(self._forward, self._inputs)
            self._wait()
        return out

    def first_run(self) -> None:
        """Do the forward in which mistakes come to light.

        Raises:
            ModelError: If it raises.
        """
        try:
            self._run()
        except ModelError:
            raise
        except Exception as err:  # the user's forward may raise anything
            raise forward_error(err, self._inputs) from err


@contextmanager
def threads_restored() -> Iterator[None]:
    """Put the number of PyTorch's threads back at the end."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)
