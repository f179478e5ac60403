"""A server of map tiles on this machine, to try what is otherwise done with a provider's.

    python examples/tile_server.py out/examples/ortho.tif

It prints the address that `justzoom map build` takes.
"""

import io
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import rasterio
from PIL import Image
from rasterio.enums import Resampling
from rasterio.transform import from_bounds
from rasterio.warp import reproject

HALF_M = 20_037_508.342789244
"""Half the side of the square of EPSG:3857."""

TILE_PX = 256


class TileServer:
    """Serves /z/x/y.jpg of a GeoTIFF from construction until `close`; `address` is for
    `justzoom map build`."""

    def __init__(self, geotiff: str) -> None:
        with rasterio.open(geotiff) as file:
            self._pixels, self._transform, self._crs = (
                file.read((1, 2, 3)),
                file.transform,
                file.crs,
            )
        self._server = ThreadingHTTPServer(('127.0.0.1', 0), self._handler())
        self.address = f'http://127.0.0.1:{self._server.server_port}/{{z}}/{{x}}/{{y}}.jpg'
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()

    def tile(self, z: int, x: int, y: int) -> bytes:
        """A tile as JPEG, black where there is no imagery."""
        side_m = 2 * HALF_M / 2**z
        west_m, north_m = x * side_m - HALF_M, HALF_M - y * side_m
        bounds = west_m, north_m - side_m, west_m + side_m, north_m
        pixels = np.zeros((3, TILE_PX, TILE_PX), np.uint8)
        reproject(
            self._pixels,
            pixels,
            src_transform=self._transform,
            src_crs=self._crs,
            dst_transform=from_bounds(*bounds, TILE_PX, TILE_PX),
            dst_crs='EPSG:3857',
            resampling=Resampling.bilinear,
        )
        buffer = io.BytesIO()
        Image.fromarray(pixels.transpose(1, 2, 0)).save(buffer, 'JPEG', quality=90)
        return buffer.getvalue()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        tile = self.tile

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked = re.fullmatch(r'/(\d+)/(\d+)/(\d+)\.jpg', self.path)
                if not asked:
                    return self.send_error(404)
                body = tile(*map(int, asked.groups()))
                self.send_response(200)
                self.send_header('Content-Type', 'image/jpeg')
                self.send_header('Content-Length', str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        return Handler


if __name__ == '__main__':
    server = TileServer(sys.argv[1])
    print(f'{server.address} (Ctrl-C ends it)')
    threading.Event().wait()
