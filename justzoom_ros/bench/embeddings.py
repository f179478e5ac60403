"""What map embeddings cost to make."""

from functools import partial

import numpy as np

from justzoom_ros.bench.parts import POLICIES, RUNS
from justzoom_ros.bench.timing import in_turns, rows
from justzoom_ros.bench.world import CITY, Ground
from justzoom_ros.images import normalised
from justzoom_ros.runtime.torch_runtime import TorchRuntime


def embeddings(size='small'):
    """How many cells a second the encoder makes of crops, in batches."""
    policy = POLICIES[size]()
    runtime, ground_map = TorchRuntime(policy, 'cpu'), Ground(CITY)
    count = 64 if size == 'small' else 4
    actions = [CITY.actions(3, index) for index in range(count)]
    crops = normalised(np.stack([ground_map.crop(a, policy.config.crop_px) for a in actions]))
    timings = in_turns(
        {
            'encode': partial(runtime.encode_satellite, crops),
            'crop': lambda: [ground_map.crop(a, policy.config.crop_px) for a in actions],
        },
        RUNS[size],
    )
    per_second = count / (timings['encode'].median_s + timings['crop'].median_s)
    inner = sum(CITY.branching**k for k in range(CITY.depth))
    return {
        'batch': count,
        'times': rows(timings),
        'cells per second': round(per_second, 2),
        'minutes for the published city': round(inner / per_second / 60, 2),
    }
