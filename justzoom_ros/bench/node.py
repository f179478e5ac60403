"""The whole node over DDS: from an image published to its fix received, and what gets dropped."""

import io
import time
from pathlib import Path

import numpy as np
from PIL import Image

from justzoom_ros.bench.world import picture

RATES_HZ = (10, 30, 60)
SECONDS = 5.0
TOPIC = '/camera/image/compressed'


def node(out, map_path, weights, seconds=SECONDS):
    """{rate: latency in ms (median, 95 %), frames sent, fixes received, share dropped} of the real
    node in a process of its own, fed with compressed images of 720 lines."""
    from sensor_msgs.msg import CompressedImage

    from justzoom_ros.demo import own_domain, running_node
    from justzoom_ros.ros.live import LiveNode
    from justzoom_ros.ros.transitions import LifecycleClient

    jpeg = io.BytesIO()
    Image.fromarray(picture()).save(jpeg, 'JPEG', quality=85)
    found = {}
    with own_domain(), running_node(Path(out), Path(map_path), Path(weights)) as alive:
        with LifecycleClient('/justzoom', alive) as driver:
            driver.change('configure')
            driver.change('activate')
        types = {TOPIC: 'sensor_msgs/msg/CompressedImage'}
        with LiveNode(types, TOPIC) as station:
            station.wait_until_there()
            message = CompressedImage(format='jpeg', data=jpeg.getvalue())
            message.header.frame_id = 'camera'
            for number, rate_hz in enumerate(RATES_HZ):
                found[rate_hz] = _at_rate(station, message, rate_hz, seconds, 1000 * (number + 1))
    return found


def _at_rate(station, message, rate_hz, seconds, first_s):
    """Publish at a rate with stamps from `first_s` on, and see what comes back."""
    count, sent_s = round(seconds * rate_hz), {}
    started_s = time.monotonic()
    for number in range(count):
        station.receive_arrivals(started_s + number / rate_hz)
        stamp_ns = first_s * 10**9 + number * 10**6
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
        sent_s[stamp_ns] = time.monotonic()
        station.publish_image(message)
    station.receive_arrivals(time.monotonic() + 1.0)
    latencies = [
        1000 * (station.arrivals[stamp] - sent) for stamp, sent in sent_s.items()
        if stamp in station.arrivals
    ]  # fmt: skip
    return {
        'sent': count,
        'fixes': len(latencies),
        'dropped': round(1 - len(latencies) / count, 4),
        'latency_median_ms': round(float(np.median(latencies)), 2),
        'latency_p95_ms': round(float(np.quantile(latencies, 0.95)), 2),
    }
