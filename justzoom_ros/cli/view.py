"""`justzoom view`: a running node, or a finished report, on a page for browsers."""

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from justzoom_ros.live.view_server import ViewServer

HELP = 'show a running node, or a finished report, in a browser'
EPILOG = """examples:
  justzoom view --map maps/farm --fix-topic /fix --image-topic /camera/image_raw
  justzoom view out                     # out/report.html, as replay wrote it
  ssh -L 8350:127.0.0.1:8350 robot      # then open http://127.0.0.1:8350/ here

Nobody but this machine reaches the page unless --host says otherwise, and it can only be read. The
node serves the same page by itself, without DDS between, where its parameter view_port is set.
"""

PORT = 8350
"""Where the page is unless asked otherwise."""


def add_parser(subparsers: Any) -> None:
    """Add `view` to the commands."""
    parser = subparsers.add_parser(
        'view',
        help=HELP,
        description=f'{HELP}: where am I, how sure, what the camera sees, how late',
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('report', nargs='?', metavar='REPORT', help='a report.html or the folder that holds it, '
        'instead of a running node')  # fmt: skip
    add('--map', metavar='DIR', help='map folder of the running node')
    add('--fix-topic', default='fix', metavar='TOPIC', help="the node's fixes (default fix)")
    add('--image-topic', default='image', metavar='TOPIC', help='what it sees (default image)')
    add('--host', default='127.0.0.1', metavar='ADDRESS', help='whom to serve: 127.0.0.1 for this '
        'machine alone (default), 0.0.0.0 for everybody who reaches it')  # fmt: skip
    add('--port', type=int, default=PORT, help=f'0 for any that is free (default {PORT})')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Serve until Ctrl-C."""
    from justzoom_ros.errors import ConfigError

    if bool(args.report) == bool(args.map):
        raise ConfigError('give a REPORT to show, or the --map of a running node')
    if args.report:
        _serve_report(args)
    else:
        _serve_node(args)


def _serve_report(args: argparse.Namespace) -> None:
    import threading

    from justzoom_ros.live.view_server import ViewServer
    from justzoom_ros.report.saved import read_report

    text = read_report(args.report)
    server = ViewServer(lambda: text, args.host, args.port)
    _say(server)
    try:
        threading.Event().wait()
    finally:
        server.close()


def _serve_node(args: argparse.Namespace) -> None:
    from justzoom_ros.cli.topic_names import check_topics
    from justzoom_ros.errors import RuntimeUnavailableError
    from justzoom_ros.live.live_view import live_page
    from justzoom_ros.live.view_server import ViewServer
    from justzoom_ros.maps.map_offset import read_offset
    from justzoom_ros.maps.satellite_map import SatelliteMap
    from justzoom_ros.report.page import require_leaflet

    check_topics(args.fix_topic, args.image_topic)
    require_leaflet()
    satellite_map = SatelliteMap.open(args.map)
    try:
        from justzoom_ros.ros.view_client import ViewClient
    except ImportError as error:
        raise RuntimeUnavailableError(
            f'a running node is heard with ROS 2 in Python, source its setup file: {error}'
        ) from error
    about = f'map {satellite_map.path.name}', f'fixes of {args.fix_topic}'
    offset = read_offset(satellite_map.path, satellite_map.checksum)
    server = ViewServer(lambda: live_page(satellite_map, about, offset), args.host, args.port)
    try:
        with ViewClient(server, satellite_map.region, args.fix_topic, args.image_topic) as client:
            _say(server)
            client.spin()
    finally:
        server.close()


def _say(server: 'ViewServer') -> None:
    print(f'{server.address} (Ctrl-C ends it)', flush=True)
