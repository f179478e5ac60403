"""The zoom policy: camera image + what the map shows at each step -> which cell to zoom into.

    ground (B, V, 3, H, W) --encoder, mean over views--> ground embedding (B, D) --+
    satellite (B, S, 3, h, w) ----------encoder--------> map embeddings (B, S, D) -+-> decoder
    sequence (B, S) -------------------------------------------------------- actions -+    |
                                                             logits (B, S, A) <-----------+

B batch, V views of one place, S steps, D width, A = grid * grid actions. The policy knows actions,
not geography.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from justzoom_ros.errors import ConfigError, WeightsError
from justzoom_ros.files import writing
from justzoom_ros.model.decoder import Decoder, DecoderConfig
from justzoom_ros.model.encoder import EncoderConfig, build_encoder

FORMAT = 'justzoom_policy_1'
VIEWS = ('street', 'nadir')


@dataclass(frozen=True)
class PolicyConfig:
    """All that is needed to rebuild a policy and to prepare its images.

    `grid`, `depth`: the zoom tree it was trained for. `view`: 'street', a forward camera whose
    2:1 image is seen as two square halves, or 'nadir', a downward camera seen as one image of
    `ground_aspect` (width / height). `ground_px`: height of a camera view; `crop_px`: side of a
    map crop.
    """

    grid: int = 4
    depth: int = 4
    view: str = 'street'
    ground_px: int = 384
    ground_aspect: float = 2.0
    crop_px: int = 384
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)

    def __post_init__(self):
        if self.view not in VIEWS:
            raise ConfigError(f'view is {self.view!r}; it must be one of {", ".join(VIEWS)}')
        if self.view == 'street' and self.ground_aspect != 2.0:
            raise ConfigError('a street view is two squares side by side: ground_aspect is 2')

    @property
    def branching(self):
        """Number of actions of one step."""
        return self.grid * self.grid

    def to_json(self):
        """The configuration as one JSON string, stored in the weights file."""
        return json.dumps({**asdict(self), 'encoder': self.encoder.to_dict()}, sort_keys=True)

    @classmethod
    def from_json(cls, text):
        """Inverse of `to_json`. Raises ConfigError where a key is missing or unknown."""
        try:
            values = json.loads(text)
            values['encoder'] = EncoderConfig.from_dict(values['encoder'])
            values['decoder'] = DecoderConfig(**values['decoder'])
            return cls(**values)
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f'not a policy configuration: {error}') from error


class ZoomPolicy(nn.Module):
    """Shared encoder and causal decoder. Built from a `PolicyConfig` with random weights; see
    `load` and `from_published` for trained ones."""

    def __init__(self, config: PolicyConfig):
        super().__init__()
        self.config = config
        self.provenance = {}  # what it was trained on and how; kept in the weights file
        self.encoder = build_encoder(config.encoder)
        if self.encoder.width % (2 * config.decoder.heads):
            raise ConfigError(
                f'width {self.encoder.width} does not divide into {config.decoder.heads} heads '
                'of even size'
            )
        self.decoder = Decoder(config.decoder, self.encoder.width, config.branching)

    @property
    def width(self):
        """D, the length of an embedding."""
        return self.encoder.width

    # --- embeddings ----------------------------------------------------------------------------

    def encode_ground(self, ground):
        """Camera views (B, V, 3, H, W) -> (B, D), the mean over the views' embeddings."""
        return self.encoder(ground.flatten(0, 1)).unflatten(0, ground.shape[:2]).mean(dim=1)

    def encode_satellite(self, crops):
        """Map crops (N, 3, h, w) -> (N, D)."""
        return self.encoder(crops)

    # --- decisions -----------------------------------------------------------------------------

    def forward(self, ground, satellite, sequence):
        """Teacher forcing: logits (B, S, A) of each action, given the true ones before it.

        ground (B, V, 3, H, W) and satellite (B, S, 3, h, w) normalised, sequence (B, S) int64.
        """
        steps = satellite.shape[:2]
        maps = self.encode_satellite(satellite.flatten(0, 1)).unflatten(0, steps)
        return self.logits(self.encode_ground(ground), maps, sequence)

    def logits(self, ground, maps, sequence):
        """As `forward`, from embeddings: ground (B, D), maps (B, S, D), sequence (B, S)."""
        actions = self.decoder.action_embed(sequence[:, :-1])
        # map_0, action_0, map_1, action_1, ..., map_S-1
        pairs = torch.stack([maps[:, :-1], actions], dim=2).flatten(1, 2)
        tokens = torch.cat([ground[:, None], pairs, maps[:, -1:]], dim=1)
        return self.decoder(tokens)[0][:, 1::2]

    def start(self, ground, root):
        """First step: ground (B, D), root (B, D) the whole map -> (logits (B, A), cache)."""
        logits, cache = self.decoder(torch.stack([ground, root], dim=1))
        return logits[:, -1], cache

    def step(self, actions, maps, cache):
        """One zoom further: actions (N,) just taken, maps (N, D) of the cells that they led to,
        cache of the N ways there -> (logits (N, A), cache)."""
        tokens = torch.stack([self.decoder.action_embed(actions), maps], dim=1)
        logits, cache = self.decoder(tokens, cache)
        return logits[:, -1], cache

    # --- files ---------------------------------------------------------------------------------

    def save(self, path, half=False):
        """Write one safetensors file with the configuration in its metadata, atomically.

        `half` stores the parameters as float16, for half the size; they are loaded as float32.
        Raises OutputError.
        """
        tensors = {name: value.contiguous() for name, value in self.state_dict().items()}
        if half:
            tensors |= {name: value.half() for name, value in self.named_parameters()}
        metadata = {'format': FORMAT, 'policy': self.config.to_json()}
        metadata['provenance'] = json.dumps(self.provenance, sort_keys=True)
        with writing(path) as temporary:
            save_file(tensors, temporary, metadata)

    @classmethod
    def load(cls, path):
        """A policy in evaluation mode from a file of `save`. Raises WeightsError."""
        metadata, tensors = read_safetensors(path)
        if metadata.get('format') != FORMAT:
            raise WeightsError(
                f'{path}: no justzoom policy (format {metadata.get("format")!r}, expected '
                f'{FORMAT!r}); published checkpoints are read by ZoomPolicy.from_published'
            )
        try:
            policy = cls(PolicyConfig.from_json(metadata.get('policy', '')))
            policy.provenance = json.loads(metadata.get('provenance', '{}'))
        except (ConfigError, ValueError) as error:
            raise WeightsError(f'{path}: {error}') from error
        return policy._filled(tensors, path)

    @classmethod
    def from_dinov2(cls, source, **config):
        """A policy with the pretrained DINOv2 of a local folder or hub name as its encoder and an
        untrained decoder. `config`: further fields of `PolicyConfig`. Raises WeightsError."""
        policy = cls(PolicyConfig(encoder=EncoderConfig.from_dinov2(source), **config))
        policy.encoder.load_pretrained(source)
        return policy.eval()

    @classmethod
    def from_published(cls, source, encoder_config=None, num_heads=8, **config):
        """A policy from a checkpoint with the published names.

        `source`: a .pth path (read with `weights_only=True`), a .safetensors path or a state
        dict. `encoder_config`: keyword arguments of `transformers.Dinov2Config`, a folder or hub
        name; DINOv2-base by default. `config`: further fields of `PolicyConfig`; grid, layers
        and width follow from the tensors. Raises WeightsError.
        """
        from justzoom_ros.model.published import published_policy

        return published_policy(cls, source, encoder_config, num_heads, config)

    def _filled(self, tensors, origin):
        """Take over all `tensors`, strictly, and switch to evaluation mode."""
        try:
            self.load_state_dict(tensors)
        except RuntimeError as error:
            detail = ' '.join(str(error).split())[:400]
            raise WeightsError(f'{origin}: weights do not fit the policy: {detail}') from error
        return self.eval()


def read_safetensors(path):
    """(metadata, tensors) of a safetensors file on the CPU. Raises WeightsError."""
    if not Path(path).is_file():
        raise WeightsError(f'{path}: no such weights file')
    try:
        with safe_open(path, 'pt') as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise WeightsError(f'{path}: not a readable safetensors file ({error})') from error
