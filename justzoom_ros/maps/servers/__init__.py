"""Imagery that a server holds: tiles, WMS, WMTS, rasters by address, items of a STAC catalogue."""
