"""The native function that runs a program: steps in order, large ones divided among the thread pool.

A program is a header of thirteen words: steps, their number, patches, their number, slots, arguments, status cells, the
thread pool's state (0: none), the function that runs a step on the pool, checks, their number, a profiler's record of
the program (0: none), the function that runs the steps for it (``timing``). A step is a kernel, its
argument block, its range, and whether it is worth dividing. A patch (position, slot, offset, head) writes the address in a
slot, plus an offset in bytes, to a position in the argument blocks. Unless its head is 0, the slot holds an array object,
and the address is read from that byte offset in the object. A check (slot, offset, further, mask, expected) compares a word
of the object in a slot: the word at a byte offset in the object, or, unless further is negative, the word at that byte
offset from where the first one points. Under the mask it must equal the expected word. If every check holds, the steps run
in order, up to one that has written to its status cell.
"""

from __future__ import annotations

import functools

from ..compiler import compile as compiler

# Runs step %i of the program, by the team if it is large; continues at %ran.
STEP = """step:
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
"""
_CODE = (
    """
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
  %h10 = getelementptr i64, ptr %header, i64 10
  %h11 = getelementptr i64, ptr %header, i64 11
  %h12 = getelementptr i64, ptr %header, i64 12
  %steps = load ptr, ptr %header
  %count = load i64, ptr %h1
  %patches = load ptr, ptr %h2
  %patch_count = load i64, ptr %h3
  %slots = load ptr, ptr %h4
  %arguments = load ptr, ptr %h5
  %cells = load ptr, ptr %h6
  %team = load ptr, ptr %h7
  %share = load ptr, ptr %h8
  %checks = load ptr, ptr %h9
  %check_count = load i64, ptr %h10
  br label %check_test
check_test:
  %c = phi i64 [0, %entry], [%c_next, %compare]
  %check_more = icmp slt i64 %c, %check_count
  br i1 %check_more, label %check, label %patch_test
check:
  %c5 = mul i64 %c, 5
  %r0 = getelementptr i64, ptr %checks, i64 %c5
  %r1 = getelementptr i64, ptr %r0, i64 1
  %r2 = getelementptr i64, ptr %r0, i64 2
  %r3 = getelementptr i64, ptr %r0, i64 3
  %r4 = getelementptr i64, ptr %r0, i64 4
  %looked_at = load i64, ptr %r0
  %in_slot = getelementptr ptr, ptr %slots, i64 %looked_at
  %object = load ptr, ptr %in_slot
  %field_offset = load i64, ptr %r1
  %word_at = getelementptr i8, ptr %object, i64 %field_offset
  %word = load i64, ptr %word_at
  %further = load i64, ptr %r2
  %is_direct = icmp slt i64 %further, 0
  br i1 %is_direct, label %compare, label %follow
follow:
  %target = inttoptr i64 %word to ptr
  %target_at = getelementptr i8, ptr %target, i64 %further
  %pointed = load i64, ptr %target_at
  br label %compare
compare:
  %seen = phi i64 [%word, %check], [%pointed, %follow]
  %mask = load i64, ptr %r3
  %expected = load i64, ptr %r4
  %masked = and i64 %seen, %mask
  %holds = icmp eq i64 %masked, %expected
  %c_next = add i64 %c, 1
  br i1 %holds, label %check_test, label %other
patch_test:
  %j = phi i64 [0, %check_test], [%j_next, %write]
  %patch_more = icmp slt i64 %j, %patch_count
  br i1 %patch_more, label %patch, label %patched
patch:
  %j4 = mul i64 %j, 4
  %q0 = getelementptr i64, ptr %patches, i64 %j4
  %q1 = getelementptr i64, ptr %q0, i64 1
  %q2 = getelementptr i64, ptr %q0, i64 2
  %position = load i64, ptr %q0
  %slot = load i64, ptr %q1
  %from = getelementptr i64, ptr %slots, i64 %slot
  %given = load i64, ptr %from
  %q3 = getelementptr i64, ptr %q0, i64 3
  %head = load i64, ptr %q3
  %is_array = icmp ne i64 %head, 0
  br i1 %is_array, label %look, label %write
look:
  %field = add i64 %given, %head
  %place = inttoptr i64 %field to ptr
  %found = load i64, ptr %place
  br label %write
write:
  %begin = phi i64 [%given, %patch], [%found, %look]
  %offset = load i64, ptr %q2
  %address = add i64 %begin, %offset
  %to = getelementptr i64, ptr %arguments, i64 %position
  store i64 %address, ptr %to
  %j_next = add i64 %j, 1
  br label %patch_test
patched:
  %record = load ptr, ptr %h11
  %profiled = icmp ne ptr %record, null
  br i1 %profiled, label %profile, label %step_test
profile:
  %run_timed = load ptr, ptr %h12
  %outcome = call i32 %run_timed(ptr %header)
  ret i32 %outcome
step_test:
  %i = phi i64 [0, %patched], [%i_next, %passed]
  %step_more = icmp slt i64 %i, %count
  br i1 %step_more, label %step, label %done
"""
    + STEP
    + """ran:
  %pair = mul i64 %i, 2
  %cell = getelementptr i64, ptr %cells, i64 %pair
  %status = load i64, ptr %cell
  %failed = icmp ne i64 %status, 0
  br i1 %failed, label %stopped, label %passed
passed:
  %i_next = add i64 %i, 1
  br label %step_test
done:
  ret i32 0
stopped:
  ret i32 1
other:
  ret i32 2
}
"""
)


@functools.cache
def run() -> int:
    """The address of the function, which takes a header. It returns 0, 1 if a step failed, 2 if a check failed: then nothing
    has run.
    """
    return compiler.native("driver", lambda: _CODE, ("run",))["run"]
