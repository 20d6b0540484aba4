"""``python -m autoprune.execution.workers PIPE``: a worker that shares no memory with others."""

import sys
from multiprocessing.connection import Connection

from autoprune.execution.workers.carried import unpacked
from autoprune.execution.workers.process import serve


def main() -> None:
    """Serve the parent at the other end of the pipe whose number is given."""
    pipe = Connection(int(sys.argv[1]))
    sys.path[:], parent, threads = pipe.recv()
    serve(pipe, unpacked(pipe.recv_bytes()), parent, threads)


if __name__ == "__main__":
    main()
