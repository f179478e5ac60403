"""The convolutional network that turns pixels into features on a grid of cells.

Shapes: B pictures, H x W pixels, C channels of features, cells of 2 x 2 pixels.
A small U-Net: 1/2 resolution says where things are, 1/4 and 1/8 say what they are part of.
Nothing in it depends on the size of the picture (no statistics over pixels), so that a large map
can be computed in tiles.
"""

import torch
import torch.nn.functional as F
from torch import nn

from justzoom_ros.registration.config import RegistrationConfig


class PixelNorm(nn.Module):
    """Each pixel's channels scaled to unit mean square, then by learned factors.

    RMSNorm (arXiv 1910.07467) over the channels of a pixel.
    """

    def __init__(self, width: int):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, width, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, W, h, w) to the same."""
        return x * (x.square().mean(1, keepdim=True) + 1e-6).rsqrt() * self.scale


class Block(nn.Module):
    """Residual block: x + conv3x3(relu(norm(x)))."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = PixelNorm(width)
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, W, h, w) to the same."""
        return x + self.conv(F.relu(self.norm(x)))


class Encoder(nn.Module):
    """(B, 4, H, W), three normalized channels and a mask, to (B, `outputs`, H / 2, W / 2).

    H and W are multiples of `RegistrationConfig.alignment_px`.
    """

    def __init__(self, config: RegistrationConfig, outputs: int):
        super().__init__()
        widths, blocks = config.widths, config.blocks
        self.stem = nn.Conv2d(4, widths[0], 4, stride=2, padding=1)
        self.down = nn.ModuleList(
            nn.Conv2d(a, b, 2, stride=2) for a, b in zip(widths, widths[1:], strict=False)
        )
        self.descent = nn.ModuleList(
            nn.Sequential(*(Block(width) for _ in range(count)))
            for width, count in zip(widths, blocks, strict=True)
        )
        self.up = nn.ModuleList(
            nn.Conv2d(b, a, 1) for a, b in zip(widths, widths[1:], strict=False)
        )
        self.ascent = nn.ModuleList(Block(width) for width in widths[:-1])
        self.norm = PixelNorm(widths[0])
        self.out = nn.Conv2d(widths[0], outputs, 1)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Features, of no particular length."""
        x = self.stem(pixels)
        levels = []
        for level, blocks in enumerate(self.descent):
            x = blocks(x if level == 0 else self.down[level - 1](x))
            levels.append(x)
        for level in reversed(range(len(self.up))):
            coarse = F.interpolate(
                self.up[level](x), scale_factor=2.0, mode='bilinear', align_corners=False
            )
            x = self.ascent[level](levels[level] + coarse)
        return self.out(self.norm(x))
