"""A policy on the CPU or on CUDA, in plain torch."""

import hashlib

import torch

from justzoom_ros.runtimes.half import with_half_weights


class TorchRuntime:
    """Runs a `ZoomPolicy` without gradients. `name` 'cpu' or 'cuda'; `precision` that of camera
    views in the encoder, 'float32' or 'float16'. The map, encoded once, and the decoder, small,
    are float32 always: map embeddings do not depend on the runtime that made them.

    `checksum` names the weights and the configuration, `provenance` is the policy's, `choice`
    says in words why 'auto' took it.
    """

    def __init__(self, policy, name, precision='float32'):
        self.name, self.config, self.width = name, policy.config, policy.width
        self.device, self.precision, self.choice = torch.device(name), precision, ''
        self.checksum = weights_checksum(policy)
        self.provenance = policy.provenance
        self._policy = policy.to(self.device).eval()
        self._half = with_half_weights(policy.encoder) if precision == 'float16' else None

    @torch.inference_mode()
    def encode_ground(self, ground):
        """Camera views (B, V, 3, H, W) -> (B, D) float32, the mean over the views."""
        encoded = self._encoded(ground.to(self.device).flatten(0, 1)).float()
        return encoded.unflatten(0, ground.shape[:2]).mean(dim=1)

    @torch.inference_mode()
    def encode_satellite(self, crops):
        """Map crops (N, 3, h, w) -> (N, D) float32."""
        return self._policy.encode_satellite(crops.to(self.device))

    @torch.inference_mode()
    def start(self, ground, root, children=None):
        """As `ZoomPolicy.start`."""
        return self._policy.start(ground, root, children)

    @torch.inference_mode()
    def step(self, actions, maps, cache, children=None):
        """As `ZoomPolicy.step`."""
        return self._policy.step(actions, maps, cache, children)

    def _encoded(self, views):
        """Views (N, 3, H, W) on the device -> (N, D)."""
        if self._half is None:
            return self._policy.encoder(views)
        with torch.autocast(self.device.type, torch.float16):
            return self._half(views)


class CompiledRuntime(TorchRuntime):
    """As `TorchRuntime`, the encoder by torch.compile: seconds at the start, for every size of
    images. Needs a C++ compiler on a CPU."""

    def __init__(self, policy):
        super().__init__(policy, 'cuda' if torch.cuda.is_available() else 'cpu')
        self.name = 'compile'
        self._compiled = torch.compile(self._policy.encoder, dynamic=False)

    def _encoded(self, views):
        return self._compiled(views)


def views_shape(config):
    """(V, 3, height, width) of the views of one camera image, as the encoder sees them."""
    wide = config.ground_aspect if config.view == 'nadir' else 1.0
    size = config.ground_px, round(config.ground_px * wide)
    return (2 if config.view == 'street' else 1), 3, *size


def weights_checksum(policy):
    """sha256, in hex, of the configuration and all tensors."""
    digest = hashlib.sha256(policy.config.to_json().encode())
    for name, tensor in sorted(policy.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy())
    return digest.hexdigest()
