"""What every network here shares: one vision encoder for both views, and its file."""

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from justzoom_ros.errors import ConfigError, WeightsError
from justzoom_ros.files import writing
from justzoom_ros.models.config import PolicyConfig
from justzoom_ros.models.encoder import build_encoder


class Embedder(nn.Module):
    """An encoder shared by camera views and map crops, built from a `PolicyConfig` with random
    weights. Subclasses say what the embeddings are for, and name their `FORMAT`."""

    FORMAT = ''

    def __init__(self, config: PolicyConfig):
        super().__init__()
        self.config = config
        self.provenance = {}  # what it was trained on and how; kept in the weights file
        self.encoder = build_encoder(config.encoder)

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

    # --- files ---------------------------------------------------------------------------------

    def save(self, path, half=False):
        """Write one safetensors file with the configuration in its metadata, atomically.

        `half` stores the parameters as float16, for half the size; they are loaded as float32.
        Raises OutputError.
        """
        tensors = {name: value.contiguous() for name, value in self.state_dict().items()}
        if half:
            tensors |= {name: value.half() for name, value in self.named_parameters()}
        metadata = {'format': self.FORMAT, 'policy': self.config.to_json()}
        metadata['provenance'] = json.dumps(self.provenance, sort_keys=True)
        with writing(path) as temporary:
            save_file(tensors, temporary, metadata)

    @classmethod
    def load(cls, path):
        """A network in evaluation mode from a file of `save`. Raises WeightsError."""
        metadata, tensors = read_safetensors(path)
        if metadata.get('format') != cls.FORMAT:
            raise WeightsError(
                f'{path}: not the weights asked for (format {metadata.get("format")!r}, expected '
                f'{cls.FORMAT!r}); published checkpoints are read by ZoomPolicy.from_published'
            )
        try:
            policy = cls(PolicyConfig.from_json(metadata.get('policy', '')))
            policy.provenance = json.loads(metadata.get('provenance', '{}'))
        except (ConfigError, ValueError) as error:
            raise WeightsError(f'{path}: {error}') from error
        return policy._filled(cls.renamed(tensors), path)

    @classmethod
    def renamed(cls, tensors):
        """Tensors of a file by their present names; a network whose parameters were once called
        otherwise says so here."""
        return tensors

    def take(self, path):
        """Take over the parameters of a file of `save`, of the same configuration. Raises
        WeightsError."""
        trained = type(self).load(path)
        if trained.config != self.config:
            raise WeightsError(f'{path}: weights of another configuration than is asked for')
        self.load_state_dict(trained.state_dict())

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
