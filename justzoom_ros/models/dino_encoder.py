"""The 'dinov2' encoder: a Hugging Face `Dinov2Model`, as published (arXiv 2304.07193). The
embedding is its CLS token after the final layer norm."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from justzoom_ros.errors import WeightsError
from justzoom_ros.models.encoder import Encoder


class DinoEncoder(Encoder):
    """Images (N, 3, H, W), normalised, H and W multiples of the patch or cut to them -> CLS
    embedding (N, width). The options are keyword arguments of `transformers.Dinov2Config`."""

    # Patches, positions and the tokens that stand beside them.
    STEM = ('backbone.embeddings.',)

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__()
        from transformers import Dinov2Config, Dinov2Model

        self.backbone = Dinov2Model(Dinov2Config(**options))
        self.width = self.backbone.config.hidden_size

    @classmethod
    def pretrained_options(cls, source: str | Path) -> dict[str, Any]:
        """What a local folder or hub name says otherwise than the defaults. Raises
        WeightsError."""
        from transformers import Dinov2Config

        try:
            return Dinov2Config.from_pretrained(source).to_diff_dict()
        except (OSError, ValueError) as error:
            raise WeightsError(f'{source}: no DINOv2 configuration there ({error})') from error

    def load_pretrained(self, source: str | Path) -> None:
        """Take over the weights of a local folder or hub name. Raises WeightsError."""
        from transformers import Dinov2Model

        try:
            trained = Dinov2Model.from_pretrained(source)
            self.backbone.load_state_dict(trained.state_dict())
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise WeightsError(f'{source}: no DINOv2 weights there ({error})') from error

    def freeze_but(self, blocks: int) -> None:
        """Keep all as it is but the last so many blocks and the final norm, as published."""
        first = max(0, self.backbone.config.num_hidden_layers - blocks)
        self.backbone.requires_grad_(False)
        for block in self.backbone.encoder.layer[first:]:
            block.requires_grad_(True)
        self.backbone.layernorm.requires_grad_(True)

    def use_attention(self, form: str) -> None:
        """As `Encoder.use_attention`."""
        self.backbone.set_attn_implementation('eager' if form == 'explicit' else 'sdpa')

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (N, 3, H, W) -> (N, width)."""
        return self.backbone(pixel_values=images).last_hidden_state[:, 0]
