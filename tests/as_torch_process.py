"""Runs a script on this package in the place of PyTorch, in its own process: ``torch`` is one module in each."""

import subprocess
import sys
import textwrap

HEAD = """
import tracer.as_torch
import tracer, torch, sys, warnings
import torch.nn as nn
import torch.nn.functional as F
"""


def run(code, *arguments, head=HEAD, cwd=None):
    """What the script prints."""
    done = subprocess.run(
        [sys.executable, "-c", head + textwrap.dedent(code), *arguments], capture_output=True, text=True, cwd=cwd, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
