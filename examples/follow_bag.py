"""Follow a robot through a rosbag2: its camera and its odometry, started anywhere on the map.

python examples/follow_bag.py out/examples/flight/bag maps/demo
"""

import sys

from justzoom_ros import Fix, Localizer, Tracker
from justzoom_ros.io.bags import IMAGE_TYPES, ODOMETRY_TYPES, Bag
from justzoom_ros.io.image_message import image_from_message
from justzoom_ros.io.motion_message import pose_from_message


def main(bag_path: str, map_path: str) -> list[Fix]:
    """Print the fix of every frame, with the weights that lie beside the map."""
    tracker = Tracker(Localizer.open(map=map_path, weights=f'{map_path}/weights.safetensors'))
    fixes = []
    with Bag(bag_path) as bag:
        images, odometry = bag.topic(IMAGE_TYPES), bag.topic(ODOMETRY_TYPES)
        for item in bag.messages([images, odometry]):
            if item.topic == odometry:
                tracker.add_odometry(pose_from_message(item.message))
                continue
            fix = tracker.locate(image_from_message(item.message), item.stamp_ns)
            place = f'{fix.latitude:.6f}, {fix.longitude:.6f} within {fix.radius_90_m:.0f} m'
            print(f'{fix.status}: {place}')
            fixes.append(fix)
    return fixes


if __name__ == '__main__':
    main(*sys.argv[1:])
