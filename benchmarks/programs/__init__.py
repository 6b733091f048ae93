"""Public programs for PyTorch, unmodified, on PyTorch and on this package: losses, files, compilation, times, memory.

    python -m benchmarks.programs [--only PATTERN] [--clones FOLDER] [--write]

The code of a program is that of an installed package, or of a clone in a folder that an option names; its data are random and
small. Each program runs in its own process, once for each engine (``child.py``). Results are lines of JSON in
``build/programs.jsonl``, so a run can be resumed; ``docs/programs.md`` is made from them (``page.py``).
"""
