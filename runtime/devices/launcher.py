"""Native code that launches several kernels: one call from Python, and packed arguments.

``i32 launch(ptr driver, ptr table, i64 count, ptr words, ptr stream)``. ``driver`` is the address of ``cuLaunchKernel``. A row
of the table is a kernel: its function, blocks, threads of a block, the first word of its arguments, and their size in bytes.
The words are the arguments' block in the driver's form ``extra``. Returns 0, or the driver's status of the first failed launch.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any

from ..compiler import compile as compiler

# The constants of ``extra``: CU_LAUNCH_PARAM_BUFFER_POINTER is 1, _BUFFER_SIZE 2, and _END 0.
_CODE = """
define i32 @SYMBOL_launch(ptr %driver, ptr %table, i64 %count, ptr %words, ptr %stream) {
entry:
  %size = alloca i64
  %extra = alloca [5 x ptr]
  %e1 = getelementptr ptr, ptr %extra, i64 1
  %e2 = getelementptr ptr, ptr %extra, i64 2
  %e3 = getelementptr ptr, ptr %extra, i64 3
  %e4 = getelementptr ptr, ptr %extra, i64 4
  store ptr inttoptr (i64 1 to ptr), ptr %extra
  store ptr inttoptr (i64 2 to ptr), ptr %e2
  store ptr %size, ptr %e3
  store ptr null, ptr %e4
  br label %test
test:
  %i = phi i64 [0, %entry], [%next, %launched]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %launch, label %done
launch:
  %at = mul i64 %i, 5
  %row = getelementptr i64, ptr %table, i64 %at
  %r1 = getelementptr i64, ptr %row, i64 1
  %r2 = getelementptr i64, ptr %row, i64 2
  %r3 = getelementptr i64, ptr %row, i64 3
  %r4 = getelementptr i64, ptr %row, i64 4
  %function = load ptr, ptr %row
  %blocks = load i32, ptr %r1
  %threads = load i32, ptr %r2
  %first = load i64, ptr %r3
  %nbytes = load i64, ptr %r4
  %block = getelementptr i64, ptr %words, i64 %first
  store ptr %block, ptr %e1
  store i64 %nbytes, ptr %size
  %status = call i32 %driver(ptr %function, i32 %blocks, i32 1, i32 1, i32 %threads, i32 1, i32 1, i32 0, ptr %stream, ptr null, ptr %extra)
  %ok = icmp eq i32 %status, 0
  br i1 %ok, label %launched, label %failed
launched:
  %next = add i64 %i, 1
  br label %test
failed:
  ret i32 %status
done:
  ret i32 0
}
"""  # noqa: E501 one instruction for each line


@functools.cache
def launcher() -> Callable[..., int]:
    """The function, called with addresses and a number."""
    where = compiler.native("launcher", lambda: _CODE, ("launch",))["launch"]
    kinds: list[Any] = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p]
    return ctypes.CFUNCTYPE(ctypes.c_int, *kinds)(where)
