"""python -m gallery [NAME ...], in tests/: the programs' costs, allowed costs, and eager calls.

``+``: within the allowed cost; ``-``: above it; ``!``: the traced results differ.
"""

import sys
import time

import gallery


def main() -> None:
    for name in sys.argv[1:] or gallery.PROGRAMS:
        p, begin = gallery.PROGRAMS[name], time.perf_counter()
        try:
            cost = gallery.cost(name)
        except AssertionError as e:
            print(f"! {name}: {str(e)[:800]}")
            continue
        seconds = time.perf_counter() - begin
        reasons = [line.strip() for line in cost.explained.splitlines() if "eager" in line]
        mark = "+" if cost.within(p) else "-"
        print(
            f"{mark} {name}: runs {cost.runs}/{p.runs}, programs {cost.programs}/{p.programs}, {seconds:.2f} s {reasons}",
            flush=True,
        )


if __name__ == "__main__":
    main()
