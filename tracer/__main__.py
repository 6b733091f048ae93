"""``python -m tracer`` is the command ``tracer``."""

from .cli.app import main

main()
