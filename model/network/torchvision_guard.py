"""Let timm and transformers import where only a CUDA build of torchvision meets a CPU torch.

Such a torchvision fails at import because its compiled operators, which nothing here uses, were
never registered. Declaring the two schemas that it looks up is enough. Where torchvision loads,
importing this module does nothing.
"""

from __future__ import annotations

import sys

import torch

try:
    import torchvision
except RuntimeError:
    _library = torch.library.Library("torchvision", "DEF")
    _library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    for _name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[_name]
    import torchvision  # noqa: F401
