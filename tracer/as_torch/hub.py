"""``torch.hub``: nothing is downloaded; files that are in the folder of ``get_dir`` are read."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from ..serialization import load as _load
from .absent import rest_of

try:
    from tqdm.auto import tqdm  # type: ignore[import-untyped]
except ImportError:
    tqdm = None

__getattr__ = rest_of("hub")  # also ``load`` and ``download_url_to_file``
HASH_REGEX = re.compile(r"-([a-f0-9]*)\.")
_folder: list[str] = []


def _get_torch_home() -> str:
    """$TORCH_HOME, or ~/.cache/torch."""
    home = os.environ.get("TORCH_HOME") or os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "torch")
    return os.path.expanduser(home)


def get_dir() -> str:
    """The folder of downloaded files: as set, else ``hub`` in $TORCH_HOME, else ~/.cache/torch/hub."""
    return _folder[-1] if _folder else os.path.join(_get_torch_home(), "hub")


def set_dir(d: str | os.PathLike[str]) -> None:
    """Sets the folder."""
    _folder[:] = [os.path.expanduser(d)]


def load_state_dict_from_url(
    url: str,
    model_dir: str | None = None,
    map_location: Any = None,
    progress: bool = True,
    check_hash: bool = False,
    file_name: str | None = None,
    weights_only: bool = True,
) -> Any:
    """Reads the file of this name in ``model_dir``, by default in ``checkpoints`` of ``get_dir()``.

    Raises FileNotFoundError if it is not there: nothing is downloaded.
    """
    folder = Path(model_dir or os.path.join(get_dir(), "checkpoints"))
    file = folder / (file_name or os.path.basename(urlparse(url).path))
    if not file.exists():
        raise FileNotFoundError(f"{file} is missing, and nothing is downloaded: put the contents of {url} there")
    return _load(file, map_location)


load_url = load_state_dict_from_url  # the name in torch.utils.model_zoo
