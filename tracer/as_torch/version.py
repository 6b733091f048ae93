"""``torch.version``."""

from .finder import VERSION as __version__

cuda = hip = xpu = None
debug = False
git_version = "unknown"

__all__ = ["__version__", "cuda", "debug", "git_version", "hip", "xpu"]
