"""Networks of torchvision, timm and vit_pytorch. Those with batch norms run in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from .program import Program, images, row, training


def _classifier(model: Any, size: int, dtype: Any) -> Program:
    """In float64, steps are so small that what they amplify stays rounding."""
    data = images(4, 3, size, dtype=dtype)
    optimizer = torch.optim.SGD(model.to(dtype).parameters(), lr=1e-4 if dtype is torch.float64 else 1e-3)
    return training(model, lambda m, x, y: F.cross_entropy(m(x), y), data, optimizer)


def _torchvision(name: str, size: int, double: bool = True) -> Callable[[], Program]:
    def make() -> Program:
        from torchvision import models

        return _classifier(getattr(models, name)(num_classes=10), size, torch.float64 if double else torch.float32)

    row(f"torchvision {name}", "float64" if double else "")(make)
    return make


for _name in ("resnet18", "mobilenet_v2", "mobilenet_v3_small", "densenet121", "efficientnet_b0", "shufflenet_v2_x0_5"):
    _torchvision(_name, 64)
_torchvision("convnext_tiny", 32, double=False)
_torchvision("swin_t", 32, double=False)
_torchvision("squeezenet1_1", 64, double=False)


@row("torchvision vit_b_16", "two layers of width 64")
def vision_transformer() -> Program:
    from torchvision.models import VisionTransformer

    return _classifier(VisionTransformer(32, 8, 2, 2, 64, 128, num_classes=10), 32, torch.float32)


_TIMM: dict[str, tuple[int, bool, dict[str, Any]]] = {
    "ghostnet_050": (64, True, {}),
    "mobilenetv3_small_050": (64, True, {}),
    "swin_tiny_patch4_window7_224": (56, False, {"img_size": 56}),
    "deit_tiny_patch16_224": (32, False, {"img_size": 32, "depth": 4}),
    "convnext_atto": (32, False, {}),
}


def _timm(name: str) -> Callable[[], Program]:
    size, double, settings = _TIMM[name]

    def make() -> Program:
        import timm

        return _classifier(
            timm.create_model(name, num_classes=10, **settings), size, torch.float64 if double else torch.float32
        )

    row(f"timm {name}", "float64" if double else "")(make)
    return make


for _name in _TIMM:
    _timm(_name)


@row("vit_pytorch ViT")
def vit() -> Program:
    from vit_pytorch import ViT

    model = ViT(image_size=32, patch_size=8, num_classes=10, dim=64, depth=2, heads=2, mlp_dim=128)
    return _classifier(model, 32, torch.float32)
