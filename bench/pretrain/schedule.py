"""Optimisers and learning rates (docs/pre-training.md#the-method)."""

from __future__ import annotations

import math

import torch

from bench.cards.recipes import Recipe
from bench.pretrain.momentum import MomentumContrast

SGD_MOMENTUM = 0.9
POLY_POWER = 0.9


def make_optimizer(module: MomentumContrast, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD or AdamW over the parameters of the query network that are trained."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(parameters, recipe.lr, SGD_MOMENTUM, weight_decay=recipe.weight_decay)
    return torch.optim.AdamW(parameters, recipe.lr, weight_decay=recipe.weight_decay)


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """The learning rate of a step, counted from 0.

    `poly` moves once per epoch (docs/pre-training.md#the-method), `cosine` with every step, after a linear warm-up.
    """
    if recipe.schedule == "poly":
        return recipe.lr * float(1 - step // steps_per_epoch / recipe.epochs) ** POLY_POWER
    total, warmup = recipe.epochs * steps_per_epoch, recipe.warmup * steps_per_epoch
    if step < warmup:
        return min(recipe.lr, recipe.lr * (step + 1) / warmup)  # also where warm-up ends amid a step
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1.0, total - warmup)))


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give all parameters the same learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate
