"""Units cut and given back at random: does every byte come back?"""

import hashlib

import numpy as np
from torch import nn

from autoprune.surgery.apply import apply
from autoprune.surgery.restore import restored
from autoprune.surgery.tensors import state_tensors
from benchmarks.isolated import Note
from benchmarks.tables.network import Network
from benchmarks.tables.recipes import RECIPES


def restore(note: Note, table: str, sequences: int, first: int) -> None:
    """Cut random atoms and give units back in random order, again and again.

    Args:
        note: Told ``exact``, of ``sequences`` how many ended with the bytes of the dense model.
        table: Name of the table whose network, untrained, is cut.
        sequences: How many sequences.
        first: The first seed.
    """
    network = Network.of(RECIPES[table])
    model, plan = network.model, network.plan
    wanted, exact = _hash(model), 0
    for seed in range(first, first + sequences):
        rng = np.random.default_rng(seed)
        atoms = {
            name: np.sort(rng.choice(unit.atoms, int(rng.integers(1, unit.atoms)), replace=False))
            for name, unit in plan.units.items()
            if unit.atoms > 1 and rng.random() < 0.7
        }
        pruned = apply(model, plan, atoms)
        while atoms:
            names = [*atoms]
            some = [*rng.choice(names, int(rng.integers(1, len(names) + 1)), replace=False)]
            pruned = restored(pruned, model, plan, atoms, some)
            atoms = {name: gone for name, gone in atoms.items() if name not in some}
        exact += _hash(pruned) == wanted
        if seed % 50 == 0:
            note(exact=exact, sequences=seed - first + 1)
    note(exact=exact, sequences=sequences)


def _hash(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(state_tensors(model).items()):
        digest.update(name.encode() + tensor.detach().numpy().tobytes())
    return digest.hexdigest()
