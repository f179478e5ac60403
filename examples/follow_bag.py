"""Follow a robot through a rosbag2: its camera and its odometry, started anywhere on the map.

python examples/follow_bag.py out/examples/flight/bag maps/demo
"""

import sys

from justzoom_ros import Fix, Localizer, Tracker
from justzoom_ros.io.bags import Bag
from justzoom_ros.io.sequences import FrameEvent, OdometryEvent, SequenceTopics, events_of_bag


def main(bag_path: str, map_path: str) -> list[Fix]:
    """Print the fix of every frame, with the weights that lie beside the map."""
    tracker = Tracker(Localizer.open(map=map_path, weights=f'{map_path}/weights.safetensors'))
    fixes = []
    with Bag(bag_path) as bag:
        for event in events_of_bag(bag, SequenceTopics.find(bag)):
            match event:
                case OdometryEvent():
                    tracker.add_odometry(event.pose)
                case FrameEvent():
                    fix = tracker.locate(event.load(), event.stamp_ns)
                    place = f'{fix.latitude:.6f}, {fix.longitude:.6f}'
                    print(f'{fix.status}: {place} within {fix.radius_90_m:.0f} m')
                    fixes.append(fix)
    return fixes


if __name__ == '__main__':
    main(*sys.argv[1:])
