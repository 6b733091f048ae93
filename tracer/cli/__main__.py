"""``python -m tracer.cli``."""

from .app import main

main()
