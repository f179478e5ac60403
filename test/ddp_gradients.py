"""Run by test_train.py, alone or under torchrun: the gradients of one step, to a file; those of
the policy, and those that its optimizers hold."""

import os
import sys
from pathlib import Path

import torch.distributed as dist
from safetensors.torch import save_file
from tiny import tiny_trainer

from justzoom_ros.maps.satellite_map import SatelliteMap


def main(map_folder, out):
    satellite_map = SatelliteMap.open(map_folder)
    trainer = tiny_trainer(satellite_map, Path(out).parent / 'run', optimizer='muon')
    views, actions = next(iter(trainer._batches()))
    losses = trainer.gradient(views, actions)
    if trainer.leads:
        gradients = {name: p.grad for name, p in trainer.policy.named_parameters()}
        for kind, optimizer in enumerate(trainer.optimizers):
            held = (p for group in optimizer.param_groups for p in group['params'])
            gradients |= {f'{kind}.{n}': p.grad.clone() for n, p in enumerate(held)}
        save_file({**gradients, 'share': actions, 'losses': losses}, out)
    if dist.is_initialized():
        # Who leaves while another still talks to it makes gloo abort.
        dist.barrier()
        dist.destroy_process_group()
        # Its threads outlive it, and one of them may abort while the interpreter is taken down.
        os._exit(0)


if __name__ == '__main__':
    main(*sys.argv[1:])
