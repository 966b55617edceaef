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


class AdamW(Schema):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019); `grad_clip` 0 turns clipping off."""

    lr: float = identity(gt=0, description="peak learning rate")
    betas: tuple[float, float] = identity((0.9, 0.95), description="decay of the two moments")
    eps: float = identity(1e-8, gt=0, description="added to the root of the second moment")
    weight_decay: float = identity(0.1, ge=0, description="decoupled, on matrices alone")
    grad_clip: float = identity(1.0, ge=0, description="largest global gradient norm; 0 for none")


def groups(parameters: Iterable[torch.nn.Parameter], config: AdamW) -> list[dict[str, Any]]:
    """Return the two parameter groups, those that decay first; a group may be empty."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    matrices = [parameter for parameter in trained if parameter.ndim >= 2]
    others = [parameter for parameter in trained if parameter.ndim < 2]
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
    """The kernel of `torch.optim.AdamW(fused=True)` without the class around it.

    Making a `torch.optim.Optimizer` imports the compiler: 1.6 s, a third of the start of a small run.
    """

    def __init__(self, named: Mapping[str, torch.nn.Parameter], config: AdamW):
        import torch

        self._config = config
        self._groups = [group for group in groups(named.values(), config) if group["params"]]
        names = {parameter: name for name, parameter in named.items()}
        self._names = [[names[parameter] for parameter in group["params"]] for group in self._groups]
        self._moments = [
            [[torch.zeros_like(parameter) for parameter in group["params"]] for _ in MOMENTS]
            for group in self._groups
        ]
        self._counts = [
            [torch.zeros((), dtype=torch.float32, device=parameter.device) for parameter in group["params"]]
            for group in self._groups
        ]
        self.steps = 0

    def step(self, lr: float) -> None:
        """Update every parameter from its gradient."""
        import torch

        self.steps += 1
        with torch.no_grad():
            for group, moments, counts in zip(self._groups, self._moments, self._counts, strict=True):
                parameters = group["params"]
                torch._foreach_add_(counts, 1)
                torch._fused_adamw_(
                    parameters,
                    [parameter.grad for parameter in parameters],
                    moments[0],
                    moments[1],
                    [],
                    counts,
                    lr=lr,
                    beta1=self._config.betas[0],
                    beta2=self._config.betas[1],
                    weight_decay=group["weight_decay"],
                    eps=self._config.eps,
                    amsgrad=False,
                    maximize=False,
                )

    def moments(self) -> dict[str, dict[str, torch.Tensor]]:
        """Return each moment's tensors by parameter name."""
        return {
            moment: {
                name: tensor
                for names, tensors in zip(self._names, self._moments, strict=True)
                for name, tensor in zip(names, tensors[number], strict=True)
            }
            for number, moment in enumerate(MOMENTS)
        }

    def set_steps(self, steps: int) -> None:
        """Go on counting, for the correction of the moments' bias, from a number of steps."""
        self.steps = steps
        for counts in self._counts:
            for count in counts:
                count.fill_(steps)


def is_good(loss: float, grad_norm: float) -> bool:
    """Tell whether a step may be applied: the rule of every engine is that loss and norm are finite."""
    return math.isfinite(loss) and math.isfinite(grad_norm)
