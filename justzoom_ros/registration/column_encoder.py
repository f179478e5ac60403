"""From a levelled picture to features over azimuth and depth, as seen from above.

Shapes: B pictures, H rows, W columns, A = W / 2 azimuths, D depths, C channels.
Each depth of a column asks, by attention, which rows of that column speak of it; then neighbouring
azimuths and depths are compared. After *Translating Images into Maps* (arXiv 2110.00966).
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from justzoom_ros.registration.encoder import Block, PixelNorm
from justzoom_ros.registration.forward_config import ForwardConfig


class ColumnEncoder(nn.Module):
    """(B, 4, H, W), three normalized channels and a mask, to (B, `outputs`, D, A). W is even."""

    def __init__(self, config: ForwardConfig, outputs: int):
        super().__init__()
        widths, rows = config.widths, config.strip_rows // 2
        self.stem = nn.Conv2d(4, widths[0], (4, 4), stride=2, padding=1)
        self.rows = nn.ParameterList(
            nn.Parameter(torch.randn(1, width, rows >> level, 1) * 0.1)
            for level, width in enumerate(widths)
        )
        self.down = nn.ModuleList(
            nn.Conv2d(a, b, (2, 1), stride=(2, 1))
            for a, b in zip(widths, widths[1:], strict=False)
        )
        self.blocks = nn.ModuleList(
            nn.Sequential(*(Block(width) for _ in range(count)))
            for width, count in zip(widths, config.blocks, strict=True)
        )
        self.finer = nn.Conv2d(widths[-2], widths[-1], 1)
        self.lift = DepthAttention(widths[-1], config)
        self.polar = nn.Sequential(
            *(Block(config.polar_width) for _ in range(config.polar_blocks))
        )
        self.norm = PixelNorm(config.polar_width)
        self.out = nn.Conv2d(config.polar_width, outputs, 1)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Raw outputs over depth and azimuth."""
        x, levels = self.stem(pixels), []
        for level, blocks in enumerate(self.blocks):
            x = x if level == 0 else self.down[level - 1](x)
            x = blocks(x + self.rows[level])
            levels.append(x)
        coarse = F.interpolate(x, scale_factor=(2.0, 1.0), mode='nearest')
        x = self.lift(coarse + self.finer(levels[-2]))
        return self.out(self.norm(self.polar(x)))


class DepthAttention(nn.Module):
    """(B, W, h, A) to (B, polar width, D, A): learned questions of each depth to the rows."""

    def __init__(self, width: int, config: ForwardConfig):
        super().__init__()
        self.heads, rows = config.heads, config.strip_rows // 4
        self.norm = PixelNorm(width)
        self.keys = nn.Conv2d(width, 2 * width, 1)
        self.queries = nn.Parameter(torch.randn(config.depths, width) * 0.3)
        self.bias = nn.Parameter(torch.zeros(config.heads, config.depths, rows))
        self.out = nn.Conv2d(width, config.polar_width, 1)
        self.depth = nn.Parameter(torch.randn(1, config.polar_width, config.depths, 1) * 0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features of depths, from the rows of each column."""
        b, width, rows, azimuths = x.shape
        both = self.keys(self.norm(x)).reshape(b, 2, self.heads, -1, rows, azimuths)
        keys, values = both.permute(1, 0, 5, 2, 4, 3).flatten(1, 2)  # (2, B * A, heads, rows, w)
        query = self.queries.view(-1, self.heads, width // self.heads).transpose(0, 1)
        scores = query @ keys.transpose(2, 3) / math.sqrt(width // self.heads) + self.bias
        found = scores.softmax(-1).to(values) @ values  # (B * A, heads, D, w)
        found = found.unflatten(0, (b, azimuths)).permute(0, 2, 4, 3, 1).flatten(1, 2)
        return self.out(found) + self.depth
