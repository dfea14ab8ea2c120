"""A network whose forward breaks no graph, in a module of its own for recorders of functions and methods."""

import torch
from torch import nn


def gate(feature: torch.Tensor, scale: float = 2.0) -> torch.Tensor:
    return torch.sigmoid(feature) * scale


class Net(nn.Module):
    """Six blocks that share nothing but a last relu, called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(4 if block else 3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
            for block in range(6)
        )
        self.relu = nn.ReLU()
        self.fc = nn.Linear(4, 3)

    def pool(self, feature: torch.Tensor) -> torch.Tensor:
        return feature.mean((2, 3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        feature = images
        for block in self.blocks:
            feature = block(feature)
        feature = self.relu(gate(self.relu(feature), scale=1.5))
        return self.fc(self.pool(feature))
