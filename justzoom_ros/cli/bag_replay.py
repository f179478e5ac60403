"""What the commands that replay bags in process share: which topics, which camera, what fixes."""

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from justzoom_ros.cli.camera_options import knowledge_of

if TYPE_CHECKING:
    from justzoom_ros.evaluation.image_camera import CameraKnowledge
    from justzoom_ros.evaluation.replay import ReplayedFix
    from justzoom_ros.io.bags import Bag, Track
    from justzoom_ros.io.sequences import SequenceTopics
    from justzoom_ros.localizer import Localizer
    from justzoom_ros.maps.satellite_map import SatelliteMap


@dataclass(frozen=True)
class BagReplay:
    """How bags are replayed in process. A topic of None is the bag's only one of its kind."""

    knowledge: 'CameraKnowledge'
    """What is known of the camera without the bag."""

    image_range: tuple[float, float] | None = None
    """Values of 16-bit pictures that are black and white, as `UsedDepth` takes them."""

    undistort: bool = False
    """Undistort images by the camera info."""

    images: str | None = None
    """Topic of the images."""

    odometry: str | None = None
    """Topic of the odometry; a bag may have none."""

    imu: str | None = None
    """Topic of absolute orientations; not used unless given."""

    camera_info: str | None = None
    """Topic of the lens."""

    heights: str | None = None
    """Topic of heights above ground; not used unless given."""

    attitudes: str | None = None
    """Topic of the tilt; not used unless given."""

    single: bool = False
    """Each image by itself, not in the light of those before it and of the odometry."""

    headings: int = 36
    """That the belief tells apart."""

    @classmethod
    def from_args(cls, args: argparse.Namespace, **options: Any) -> 'BagReplay':
        """By --image-topic, --odom, --imu and the options of `add_camera_options` and
        `add_bag_camera_options`; `options` are further fields. Raises ConfigError."""
        return cls(
            knowledge_of(args),
            args.image_range and tuple(args.image_range),
            args.undistort,
            images=args.image_topic,
            odometry=args.odom,
            imu=args.imu,
            camera_info=args.camera_info,
            heights=args.height_topic,
            attitudes=args.attitude_topic,
            **options,
        )

    def open_localizer(
        self, path: str, map: 'SatelliteMap', weights: str | None = None, **options: Any
    ) -> 'Localizer':
        """Registration without weights of a policy, or where the camera is known beside them; the
        bag at `path` says what it is like. `options`: further ones of `Localizer.open`."""
        from justzoom_ros.evaluation.sequence_camera import camera_of_bag
        from justzoom_ros.io.bags import Bag
        from justzoom_ros.localizer import Localizer

        camera = None
        if not weights or self._tells_scale():
            with Bag(path) as bag:
                topics = self._camera_topics(bag)
                camera = camera_of_bag(bag, topics, self.knowledge, self.undistort)
        return Localizer.open(map=map, weights=weights, camera=camera, **options)

    def _tells_scale(self) -> bool:
        """Whether something is known of the camera beside its lens."""
        known = self.knowledge.camera
        return bool(
            self.heights
            or (known and (known.ahead or known.footprint_m or known.height_m is not None))
        )

    def _camera_topics(self, bag: 'Bag') -> 'SequenceTopics':
        """Where a bag tells of its camera; a lens that is not known comes from it where it can."""
        from justzoom_ros.io.sequences import (
            ATTITUDE_TYPES,
            CAMERA_INFO_TYPES,
            HEIGHT_TYPES,
            SequenceTopics,
        )

        has_info = any(kind in CAMERA_INFO_TYPES for kind in bag.topics.values())
        lens_known = self.knowledge.camera is not None and self.knowledge.camera.lens_known
        wanted = self.camera_info or (has_info and (self.undistort or not lens_known))
        return SequenceTopics(
            camera_info=bag.topic(CAMERA_INFO_TYPES, self.camera_info) if wanted else None,
            heights=bag.topic(HEIGHT_TYPES, self.heights) if self.heights else None,
            attitudes=bag.topic(ATTITUDE_TYPES, self.attitudes) if self.attitudes else None,
        )

    def replay(
        self, bag: 'Bag', localizer: 'Localizer', track: 'Track | None'
    ) -> 'list[ReplayedFix]':
        """The fixes of a bag's images, by a tracker or each by itself, with a progress bar."""
        from functools import partial

        from tqdm import tqdm

        from justzoom_ros.evaluation.replay import keep_finished, localize_frames, track_frames
        from justzoom_ros.evaluation.sequence_camera import SequenceCamera
        from justzoom_ros.filtering import HistogramFilterConfig
        from justzoom_ros.io.image_message import UsedDepth
        from justzoom_ros.io.sequences import events_of_bag
        from justzoom_ros.tracker import Tracker, TrackerConfig

        topics, camera = self._motion_topics(bag), SequenceCamera()
        if localizer.registrar:
            topics, camera = self._with_camera(topics, bag, localizer)
        single = topics.odometry is None
        total = sum(bag.counts[name] for name in topics.names)
        progress = partial(tqdm, desc='replay', unit='image' if single else 'msg', total=total)
        depth = UsedDepth(self.image_range)
        events = events_of_bag(bag, topics, track, progress, depth)
        if single:
            return list(keep_finished(localize_frames(events, localizer, camera)))
        tracker = Tracker(localizer, TrackerConfig(HistogramFilterConfig(headings=self.headings)))
        return list(keep_finished(track_frames(events, tracker, camera)))

    def _motion_topics(self, bag: 'Bag') -> 'SequenceTopics':
        """Where a bag has images and, unless each stands by itself, what tells of motion."""
        from justzoom_ros.io.bags import IMAGE_TYPES
        from justzoom_ros.io.sequences import SequenceTopics

        if self.single:
            return SequenceTopics(bag.topic(IMAGE_TYPES, self.images))
        return SequenceTopics.find(bag, self.images, self.odometry, self.imu)

    def _with_camera(
        self, topics: 'SequenceTopics', bag: 'Bag', localizer: 'Localizer'
    ) -> 'tuple[SequenceTopics, Any]':
        """The topics with those that tell of the camera, and the `SequenceCamera` of the bag."""
        from dataclasses import replace

        from justzoom_ros.evaluation.sequence_camera import SequenceCamera

        about = self._camera_topics(bag)
        topics = replace(
            topics,
            camera_info=about.camera_info,
            heights=about.heights,
            attitudes=about.attitudes,
        )
        knowledge = self.knowledge
        if knowledge.camera is None and not about.heights:
            knowledge = replace(knowledge, camera=localizer.camera)
        return topics, SequenceCamera(knowledge, topics, self.undistort)
