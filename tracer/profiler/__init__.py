"""Profiling: where a program spends its time, per kernel and per phase.

    with tracer.profiler.profile() as p:
        for x, y in batches:
            step(x, y)
    print(p.table())
    p.export_chrome_trace("trace.json")  # for Perfetto or chrome://tracing
    p.export_html("report.html")

``tracer profile script.py`` does the same for a whole program.
"""

from .session import Profile, profile, record_function

__all__ = ["Profile", "profile", "record_function"]
