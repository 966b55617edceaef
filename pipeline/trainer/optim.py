"""AdamW as every engine uses it: the same groups, the same fused kernel, the same clip.

Decay applies to matrices alone (two dimensions or more: products and embeddings), not to biases and gains:
GPT-1's rule ("all non bias or gain weights", section 4.1), kept by nanoGPT and llm.c for GPT-2, whose paper
does not say. Clipping is by the global norm over all parameters.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pipeline.config import Schema, identity

if TYPE_CHECKING:
    import torch

MOMENTS = ("exp_avg", "exp_avg_sq")
CLIP_EPS = 1e-6
"""Added to the norm that gradients are divided by, as in `torch.nn.utils.clip_grad_norm_`."""


class AdamW(Schema):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019); `grad_clip` 0 turns clipping off."""

    lr: float = identity(gt=0, description="peak learning rate")
    betas: tuple[float, float] = identity((0.9, 0.95), description="decay of the two moments")
    eps: float = identity(1e-8, gt=0, description="added to the root of the second moment")
    weight_decay: float = identity(0.1, ge=0, description="decoupled, on matrices alone")
    grad_clip: float = identity(1.0, ge=0, description="largest global gradient norm; 0 for none")


def decays(tensor: torch.Tensor) -> bool:
    """Tell whether weight decay applies to a parameter."""
    return tensor.ndim >= 2


def groups(parameters: Iterable[torch.nn.Parameter], config: AdamW) -> list[dict[str, Any]]:
    """Return the two parameter groups, those that decay first; a group may be empty."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    matrices = [parameter for parameter in trained if decays(parameter)]
    others = [parameter for parameter in trained if not decays(parameter)]
    return [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]


def torch_adamw(parameters: Iterable[torch.nn.Parameter], config: AdamW) -> torch.optim.AdamW:
    """Return torch's fused AdamW over the groups, for engines that wrap an optimizer."""
    from torch.optim import AdamW as TorchAdamW

    filled = [group for group in groups(parameters, config) if group["params"]]
    return TorchAdamW(filled, lr=config.lr, betas=config.betas, eps=config.eps, fused=True)


class FusedAdamW:
    """The kernel of `torch.optim.AdamW(fused=True)` without the class around it; clip and skip are its own.

    Making a `torch.optim.Optimizer` imports the compiler: 1.6 s, a third of the start of a small run. The
    kernel takes what a gradient scaler would give it: a divisor of the gradients, which clips them without
    a pass over memory, and a mark to leave everything as it is. Both are read on the device, so nobody waits
    for the norm. `tensors` are a process's own parts of the parameters, with as many dimensions.
    """

    def __init__(self, tensors: Mapping[str, torch.Tensor], config: AdamW):
        import torch

        self._config = config
        self._tensors = tensors
        self._moments = {
            moment: {name: torch.zeros_like(tensor) for name, tensor in tensors.items()} for moment in MOMENTS
        }
        device = next(iter(tensors.values())).device
        self._count = torch.zeros((), dtype=torch.float32, device=device)
        self._groups = [
            (names, decay)
            for names, decay in (
                ([name for name, tensor in tensors.items() if decays(tensor)], config.weight_decay),
                ([name for name, tensor in tensors.items() if not decays(tensor)], 0.0),
            )
            if names
        ]

    def step(
        self, lr: float, gradients: Mapping[str, torch.Tensor], grad_norm: torch.Tensor, good: torch.Tensor
    ) -> None:
        """Clip by the norm (fp32) and update, where `good` is 1; where it is 0, leave all as it is.

        The gradients are overwritten.
        """
        import torch

        device, clip = self._count.device, self._config.grad_clip
        grad_norm, good = grad_norm.to(device), good.to(device)
        scale = ((grad_norm + CLIP_EPS) / clip).clamp_(min=1) if clip else None
        skip = 1 - good
        self._count += good
        with torch.no_grad():
            for names, decay in self._groups:
                torch._fused_adamw_(
                    [self._tensors[name] for name in names],
                    [gradients[name] for name in names],
                    [self._moments["exp_avg"][name] for name in names],
                    [self._moments["exp_avg_sq"][name] for name in names],
                    [],
                    [self._count] * len(names),
                    lr=lr,
                    beta1=self._config.betas[0],
                    beta2=self._config.betas[1],
                    weight_decay=decay,
                    eps=self._config.eps,
                    amsgrad=False,
                    maximize=False,
                    grad_scale=scale,
                    found_inf=skip,
                )

    def moments(self) -> dict[str, dict[str, torch.Tensor]]:
        """Return each moment's tensors by parameter name."""
        return self._moments

    @property
    def steps(self) -> int:
        """How many steps were applied; asking waits for the device."""
        return int(self._count)

    @steps.setter
    def steps(self, steps: int) -> None:
        self._count.fill_(steps)


def judged(loss: torch.Tensor, grad_norm: torch.Tensor, limit: float = math.inf) -> torch.Tensor:
    """Return 1 where a step may be applied and 0 where not (fp32, on the device): the rule of every engine.

    Loss and norm must be finite, the norm within the limit; no comparison with NaN is true.
    """
    import torch

    largest = torch.finfo(torch.float32).max
    return ((loss.abs() <= largest) & (grad_norm <= min(limit, largest))).float()


def is_good(loss: float, grad_norm: float, limit: float = math.inf) -> bool:
    """Tell whether a step may be applied, by the rule of `judged`."""
    return math.isfinite(loss) and math.isfinite(grad_norm) and grad_norm <= limit
