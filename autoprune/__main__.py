"""``python -m autoprune``."""

from autoprune.cli.main import main

main()
