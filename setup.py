"""Package of the ament_python kind: built by colcon, or installed by pip."""

import re
from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = 'justzoom_ros'
SHARE = f'share/{PACKAGE}'


def version():
    """The one in justzoom_ros/version.py, read without importing the package."""
    source = Path(PACKAGE, 'version.py').read_text()
    return re.search(r"^__version__ = '(.+)'$", source, re.MULTILINE)[1]


def shared(folder):
    """data_files entries of a folder and all below it, but for caches and hidden files."""
    entries = {}
    for path in sorted(Path(folder).rglob('*')):
        hidden = any(part.startswith('.') for part in path.parts)
        cached = {'embeddings', '__pycache__'} & set(path.parts)
        if path.is_file() and not hidden and not cached:
            entries.setdefault(f'{SHARE}/{path.parent}', []).append(str(path))
    return list(entries.items())


setup(
    name=PACKAGE,
    version=version(),
    description='Where in the city is this camera? Cross-view geo-localization for ROS 2',
    license='Apache-2.0',
    packages=find_packages(include=[PACKAGE, f'{PACKAGE}.*']),
    package_data={PACKAGE: ['py.typed', 'registration/weights/*', 'report/assets/*']},
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{PACKAGE}']),
        (SHARE, ['package.xml']),
        # For colcon, which puts what a package needs on the PATH by hooks (colcon.pkg).
        (f'{SHARE}/bin', ['resource/bin/justzoom']),
        (
            f'{SHARE}/environment',
            ['resource/environment/path.dsv', 'resource/environment/path.sh'],
        ),
        *shared('launch'),
        *shared('config'),
        *shared('maps'),
    ],
    python_requires='>=3.10',
    # OpenCV is an extra: where ROS is installed cv2 comes from the system, and the wheel would
    # shadow it. The messages and rclpy belong to ROS too.
    install_requires=[
        'numpy',
        'pillow',
        'pyproj',
        'pyyaml',
        'rasterio',
        'rosbags>=0.10',
        'safetensors',
        'torch>=2.1',
        'tqdm',
        'transformers>=4.40',
    ],
    extras_require={
        'city': ['numba>=0.60'],
        'opencv': ['opencv-python-headless'],
        'mavlink': ['pymavlink'],
        'onnx': ['onnx', 'onnxruntime', 'onnxscript'],
        'retrieval': ['faiss-cpu'],
        'tensorrt': ['torch-tensorrt>=2.8', 'transformers>=4.56'],
        'train': ['matplotlib', 'tensorboard'],
        'report': ['django-js-lib-leaflet', 'matplotlib'],
        'test': ['colcon-common-extensions', 'hypothesis', 'mypy', 'pytest', 'ruff'],
    },
    entry_points={
        'console_scripts': [
            'justzoom = justzoom_ros.cli.main:main',
            'localize = justzoom_ros.ros.node:main',
            'fix_relay = justzoom_ros.ros.fix_relay:main',
        ],
        'ros2cli.command': ['justzoom = justzoom_ros.cli.ros2_verb:JustZoomCommand'],
    },
)
