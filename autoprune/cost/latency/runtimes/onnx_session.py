"""A forward by onnxruntime, and how its sessions are set up."""

from typing import Any

import torch

from autoprune.errors import ModelError
from autoprune.surgery.nested import Inputs, tensors_in


class OnnxSession:
    """A session of onnxruntime, fed from memory that is filled once.

    Args:
        session: What onnxruntime made of the file.
        inputs: Arguments of one forward.

    Raises:
        ModelError: If the file takes other inputs than the model.
    """

    def __init__(self, session: Any, inputs: Inputs) -> None:
        names = [entry.name for entry in session.get_inputs()]
        tensors = list(tensors_in(inputs))
        if len(names) != len(tensors):
            raise ModelError(
                f"The model takes {len(tensors)} tensors, but its ONNX file takes {len(names)}: "
                "an input that no output depends on was left out. Remove it from the forward."
            )
        self._session = session
        self._feed = {name: x.numpy() for name, x in zip(names, tensors, strict=True)}

    def run(self) -> None:
        """Do one forward."""
        self._session.run(None, self._feed)

    def outputs(self) -> list[torch.Tensor]:
        """Return the floating-point outputs of one forward."""
        found = (torch.from_numpy(array) for array in self._session.run(None, self._feed))
        return [x for x in found if x.is_floating_point()]


def session_options(threads: int) -> Any:
    """Return the options of a session: onnxruntime's own, but for the threads.

    Threads that wait for work spin, as they do for users. Only when a forward is over they stop:
    those of one session would take the cores from the next one, which is measured in turn.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return options
