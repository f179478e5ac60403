"""A policy on the CPU or on CUDA, in plain torch."""

import hashlib

import torch


class TorchRuntime:
    """Runs a `ZoomPolicy` without gradients. `name` 'cpu' or 'cuda'; `checksum` names the
    weights and the configuration, `provenance` is the policy's."""

    def __init__(self, policy, name):
        self.name, self.config, self.width = name, policy.config, policy.width
        self.device = torch.device(name)
        self.checksum = weights_checksum(policy)
        self.provenance = policy.provenance
        self._policy = policy.to(self.device).eval()

    @torch.inference_mode()
    def encode_ground(self, ground):
        """Camera views (B, V, 3, H, W) -> (B, D)."""
        return self._policy.encode_ground(ground.to(self.device))

    @torch.inference_mode()
    def encode_satellite(self, crops):
        """Map crops (N, 3, h, w) -> (N, D)."""
        return self._policy.encode_satellite(crops.to(self.device))

    @torch.inference_mode()
    def start(self, ground, root, children=None):
        """As `ZoomPolicy.start`."""
        return self._policy.start(ground, root, children)

    @torch.inference_mode()
    def step(self, actions, maps, cache, children=None):
        """As `ZoomPolicy.step`."""
        return self._policy.step(actions, maps, cache, children)


def weights_checksum(policy):
    """sha256, in hex, of the configuration and all tensors."""
    digest = hashlib.sha256(policy.config.to_json().encode())
    for name, tensor in sorted(policy.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy())
    return digest.hexdigest()
