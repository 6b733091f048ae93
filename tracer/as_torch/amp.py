"""``torch.amp`` for devices that are not there: without effect. Mixed precision on the CPU raises NotImplementedError."""

from __future__ import annotations

import functools
import warnings
from typing import Any

from ..core.device import device
from ..core.tensor import Tensor
from .absent import as_it_is, rest_of

custom_fwd = custom_bwd = as_it_is
__getattr__ = rest_of("amp")


class autocast:
    """A context and decorator without effect. As in PyTorch, a warning says so for a device that is not available.

    Raises NotImplementedError if enabled for the CPU.
    """

    def __init__(self, device_type: str = "cuda", dtype: Any = None, enabled: bool = True, cache_enabled: bool | None = None):
        kind = device(device_type).type
        if enabled and kind == "cpu":
            raise NotImplementedError("tracer has no autocast on the CPU: convert the model with model.to(torch.bfloat16)")
        if enabled:
            warnings.warn(f"User provided device_type of '{kind}', but it is not available. Disabling", stacklevel=2)

    def __enter__(self) -> autocast:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def __call__(self, function: Any) -> Any:
        @functools.wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return called


class GradScaler:
    """A scaler that does not scale: gradients are in single precision, or in bfloat16, which needs no scaling."""

    def __init__(self, device: str = "cuda", init_scale: float = 65536.0, *args: Any, enabled: bool = True, **kwargs: Any):
        pass

    def scale(self, outputs: Any) -> Any:
        """The outputs."""
        return outputs

    def unscale_(self, optimizer: Any) -> None:
        """No effect."""

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """``optimizer.step()``."""
        return optimizer.step(*args, **kwargs)

    def update(self, new_scale: Tensor | float | None = None) -> None:
        """No effect."""

    def get_scale(self) -> float:
        """1."""
        return 1.0

    def is_enabled(self) -> bool:
        """False."""
        return False

    def state_dict(self) -> dict[str, Any]:
        """Empty."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """No effect."""


def is_autocast_available(device_type: str) -> bool:
    """False."""
    return False
