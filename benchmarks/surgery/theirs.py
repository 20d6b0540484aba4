"""One model of the zoo through Torch-Pruning: does the pruned model run?"""

from time import process_time

from benchmarks.isolated import Note
from benchmarks.surgery.build import build, input_sets
from benchmarks.surgery.right import require_runs, require_shapes
from benchmarks.surgery.torch_pruning import mend_attributes, pruner_of
from benchmarks.surgery.zoo import Model


def check(note: Note, model: Model, folder: str, expert: bool) -> None:
    """Note ``runs`` if the model got smaller and gives finite numbers at two input sizes.

    It is ``right`` if the outputs also have the shapes they had. Values are not compared.
    ``prune_s`` is processor time.
    """
    note(stage="build")
    network = build(model)
    dense, sets = build(model), input_sets(model, network)
    note(stage="prune")
    started = process_time()
    pruner_of(folder, model, network, sets[0], expert=expert).step()
    note(stage="forward", prune_s=process_time() - started)
    if expert:
        mend_attributes(network)
    require_runs(dense, network, sets)
    note(runs=True)
    require_shapes(model, dense, network, sets)
    note(right=True)
