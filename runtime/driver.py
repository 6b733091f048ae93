"""The native function that runs a program: steps in order, large ones shared among the team.

A program is a header of ten words: steps, their number, patches, their number, slots, arguments, status cells, the team
(0: none), the function that shares a step, the guard of the BLAS library's threads (0: left alone). A step is a kernel, its
argument block, its range, whether it is worth sharing. A patch (position, slot) writes the address in a slot to a position in
the argument blocks; then the steps run in order, up to one that has written to its status cell.
"""

from __future__ import annotations

import functools

from . import compile as compiler

_CODE = """
; A guard is five words: a lock, how many programs are in, the library's number of threads before, and its functions that get
; and set it. The first in sets it to one, for the team calls it from threads of its own; the last out sets it back.
define private void @lock(ptr %guard) {
entry:
  br label %try
try:
  %pair = cmpxchg ptr %guard, i64 0, i64 1 acquire monotonic
  %mine = extractvalue { i64, i1 } %pair, 1
  br i1 %mine, label %done, label %try
done:
  ret void
}

define private void @enter(ptr %guard) {
entry:
  call void @lock(ptr %guard)
  %g1 = getelementptr i64, ptr %guard, i64 1
  %users = load i64, ptr %g1
  %more = add i64 %users, 1
  store i64 %more, ptr %g1
  %first = icmp eq i64 %users, 0
  br i1 %first, label %set, label %done
set:
  %g2 = getelementptr i64, ptr %guard, i64 2
  %g3 = getelementptr i64, ptr %guard, i64 3
  %g4 = getelementptr i64, ptr %guard, i64 4
  %get_threads = load ptr, ptr %g3
  %set_threads = load ptr, ptr %g4
  %before = call i32 %get_threads()
  %wide = sext i32 %before to i64
  store i64 %wide, ptr %g2
  call void %set_threads(i32 1)
  br label %done
done:
  store atomic i64 0, ptr %guard release, align 8
  ret void
}

define private void @leave(ptr %guard) {
entry:
  call void @lock(ptr %guard)
  %g1 = getelementptr i64, ptr %guard, i64 1
  %users = load i64, ptr %g1
  %less = sub i64 %users, 1
  store i64 %less, ptr %g1
  %last = icmp eq i64 %less, 0
  br i1 %last, label %set, label %done
set:
  %g2 = getelementptr i64, ptr %guard, i64 2
  %g4 = getelementptr i64, ptr %guard, i64 4
  %set_threads = load ptr, ptr %g4
  %wide = load i64, ptr %g2
  %before = trunc i64 %wide to i32
  call void %set_threads(i32 %before)
  br label %done
done:
  store atomic i64 0, ptr %guard release, align 8
  ret void
}

define i32 @SYMBOL_run(ptr %header) {
entry:
  %h1 = getelementptr i64, ptr %header, i64 1
  %h2 = getelementptr i64, ptr %header, i64 2
  %h3 = getelementptr i64, ptr %header, i64 3
  %h4 = getelementptr i64, ptr %header, i64 4
  %h5 = getelementptr i64, ptr %header, i64 5
  %h6 = getelementptr i64, ptr %header, i64 6
  %h7 = getelementptr i64, ptr %header, i64 7
  %h8 = getelementptr i64, ptr %header, i64 8
  %h9 = getelementptr i64, ptr %header, i64 9
  %steps = load ptr, ptr %header
  %count = load i64, ptr %h1
  %patches = load ptr, ptr %h2
  %patch_count = load i64, ptr %h3
  %slots = load ptr, ptr %h4
  %arguments = load ptr, ptr %h5
  %cells = load ptr, ptr %h6
  %team = load ptr, ptr %h7
  %share = load ptr, ptr %h8
  %guard = load ptr, ptr %h9
  %guarded = icmp ne ptr %guard, null
  br i1 %guarded, label %take, label %patch_test
take:
  call void @enter(ptr %guard)
  br label %patch_test
patch_test:
  %j = phi i64 [0, %entry], [0, %take], [%j_next, %patch]
  %patch_more = icmp slt i64 %j, %patch_count
  br i1 %patch_more, label %patch, label %step_test
patch:
  %j2 = mul i64 %j, 2
  %q0 = getelementptr i64, ptr %patches, i64 %j2
  %q1 = getelementptr i64, ptr %q0, i64 1
  %position = load i64, ptr %q0
  %slot = load i64, ptr %q1
  %from = getelementptr i64, ptr %slots, i64 %slot
  %address = load i64, ptr %from
  %to = getelementptr i64, ptr %arguments, i64 %position
  store i64 %address, ptr %to
  %j_next = add i64 %j, 1
  br label %patch_test
step_test:
  %i = phi i64 [0, %patch_test], [%i_next, %passed]
  %step_more = icmp slt i64 %i, %count
  br i1 %step_more, label %step, label %done
step:
  %row = mul i64 %i, 5
  %p0 = getelementptr i64, ptr %steps, i64 %row
  %p1 = getelementptr i64, ptr %p0, i64 1
  %p2 = getelementptr i64, ptr %p0, i64 2
  %p3 = getelementptr i64, ptr %p0, i64 3
  %kernel = load ptr, ptr %p0
  %args = load ptr, ptr %p1
  %start = load i64, ptr %p2
  %stop = load i64, ptr %p3
  %p4 = getelementptr i64, ptr %p0, i64 4
  %large = load i64, ptr %p4
  %worth = icmp ne i64 %large, 0
  %there = icmp ne ptr %team, null
  %both = and i1 %worth, %there
  br i1 %both, label %shared, label %alone
shared:
  call void %share(ptr %team, ptr %kernel, ptr %args, i64 %start, i64 %stop)
  br label %ran
alone:
  call void %kernel(ptr %args, i64 %start, i64 %stop)
  br label %ran
ran:
  %pair = mul i64 %i, 2
  %cell = getelementptr i64, ptr %cells, i64 %pair
  %status = load i64, ptr %cell
  %failed = icmp ne i64 %status, 0
  br i1 %failed, label %stopped, label %passed
passed:
  %i_next = add i64 %i, 1
  br label %step_test
done:
  br label %out
stopped:
  br label %out
out:
  %result = phi i32 [0, %done], [1, %stopped]
  br i1 %guarded, label %give, label %end
give:
  call void @leave(ptr %guard)
  br label %end
end:
  ret i32 %result
}
"""


@functools.cache
def run() -> int:
    """The address of the function, which takes that of a header and returns whether a step failed."""
    return compiler.native(_CODE, ("run",))["run"]
