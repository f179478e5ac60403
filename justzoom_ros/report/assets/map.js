// The map: imagery, the true track, fixes with their ellipses, and the frame that is shown.

const MARKS = { truth: '#ffffff', fix: '#2ee59d', no_fix: '#ff9f1c', wrong: '#ff4d4d' };
const CHI2_90 = 4.605;  // two degrees of freedom
const at = ([east, north]) => L.latLng(north, east);

function ellipse(position, [xx, xy, yy], points = 48) {
  const mean = (xx + yy) / 2;
  const off = Math.hypot((xx - yy) / 2, xy);
  const turn = 0.5 * Math.atan2(2 * xy, xx - yy);
  const [long, short] = [mean + off, Math.max(mean - off, 0)].map((v) => Math.sqrt(CHI2_90 * v));
  return Array.from({ length: points }, (_, k) => {
    const angle = (2 * Math.PI * k) / points;
    const [a, b] = [long * Math.cos(angle), short * Math.sin(angle)];
    const [sin, cos] = [Math.sin(turn), Math.cos(turn)];
    return at([position[0] + a * cos - b * sin, position[1] + a * sin + b * cos]);
  });
}

class MapView {
  constructor(root, data, show) {
    this.side = data.map.side_m;
    this.show = show;
    const half = this.side / 2;
    const [east, north] = this.offset = data.map.offset_m;  // how far the imagery is off
    const square = [[north - half, east - half], [north + half, east + half]];
    this.map = L.map(root, {
      crs: L.CRS.Simple, preferCanvas: true, minZoom: -8, maxZoom: 6, zoomSnap: 0.1, zoomDelta: 0.5,
      maxBounds: L.latLngBounds(square).pad(0.01), attributionControl: false,
    });
    L.control.attribution({ prefix: 'Leaflet' }).addAttribution(escapeText(data.map.attribution)).addTo(this.map);
    L.control.scale({ imperial: false }).addTo(this.map);
    L.imageOverlay(data.map.uri, square, { alt: 'Overhead imagery' }).addTo(this.map);
    this.map.fitBounds(square);
    this.whole = square;
    const names = ['truth', 'ellipses', 'unsure', 'fixes', 'now'];
    this.layers = Object.fromEntries(names.map((name) => [name, L.layerGroup().addTo(this.map)]));
    this.beliefLayer = L.layerGroup();
    L.control.layers(null, this.choices(data.live), { collapsed: root.clientWidth < 500 }).addTo(this.map);
    this.drawTrack(data.track);
    new ResizeObserver(() => this.map.invalidateSize()).observe(root);
  }

  choices(live) {
    const { truth, ellipses, fixes, unsure } = this.layers;
    const shown = { Fixes: fixes, '90 % ellipses': ellipses, 'No fix': unsure, Belief: this.beliefLayer };
    return live ? shown : { Truth: truth, ...shown };
  }

  drawTrack(track) {
    if (!track || track.length < 2) return;
    const places = track.map(at);
    L.polyline(places, { color: '#000', opacity: 0.45, weight: 4.5, interactive: false }).addTo(this.layers.truth);
    L.polyline(places, { color: MARKS.truth, weight: 2, interactive: false }).addTo(this.layers.truth);
    this.fit(places);
  }

  fit(places) {
    const box = L.latLngBounds(places).pad(0.15);
    const half = this.side / 2;
    const inside = (middle) => (v) => Math.min(Math.max(v, middle - half), middle + half);
    const [south, north] = [box.getSouth(), box.getNorth()].map(inside(this.offset[1]));
    const [west, east] = [box.getWest(), box.getEast()].map(inside(this.offset[0]));
    const far = Math.max(north - south, east - west);
    if (far > this.side / 8) this.map.fitBounds([[south, west], [north, east]]);
  }

  add(frame, number) {
    if (!frame.position) return;
    const sure = frame.status === 'fix';
    const colour = this.colour(frame);
    const group = sure ? this.layers.fixes : this.layers.unsure;
    const place = at(frame.position);
    if (sure && frame.covariance) {
      const style = { color: colour, weight: 1, opacity: 0.6, fill: false, interactive: false };
      L.polygon(ellipse(frame.position, frame.covariance), style).addTo(this.layers.ellipses);
    }
    if (frame.truth) {
      const style = { color: colour, weight: 1, opacity: sure ? 0.8 : 0.35, interactive: false };
      L.polyline([place, at(frame.truth)], style).addTo(group);
    }
    const dot = { radius: sure ? 3.8 : 3.2, color: '#111', weight: 1, fillColor: colour, fillOpacity: sure ? 1 : 0.6 };
    L.circleMarker(place, dot).on('click', () => this.show(number)).addTo(group);
  }

  colour(frame) {
    if (frame.severity === 'wrong') return MARKS.wrong;
    return frame.status === 'fix' ? MARKS.fix : MARKS.no_fix;
  }

  clear() {
    for (const name of ['ellipses', 'unsure', 'fixes']) this.layers[name].clearLayers();
  }

  // The frame that the slider is at, on top of all.
  mark(frame) {
    const group = this.layers.now.clearLayers();
    const heaviest = frame.hypotheses.slice(0, 12);
    for (const [east, north, mass] of heaviest) {
      const style = { radius: 5 + 13 * Math.sqrt(mass), color: '#ffe14d', weight: 1.5, fill: false, interactive: false };
      L.circleMarker(at([east, north]), style).addTo(group);
    }
    if (frame.truth) this.cross(frame.truth, group);
    if (!frame.position) return;
    const colour = this.colour(frame);
    if (frame.covariance) {
      const style = { color: colour, weight: 2.5, fillOpacity: 0.12, interactive: false };
      L.polygon(ellipse(frame.position, frame.covariance, 72), style).addTo(group);
    }
    if (frame.yaw_rad !== null && frame.status === 'fix') this.heading(frame, group);
    const dot = { radius: 6, color: '#111', weight: 2, fillColor: colour, fillOpacity: 1, interactive: false };
    L.circleMarker(at(frame.position), dot).addTo(group);
    this.map.panInside(at(frame.position), { padding: [40, 40], animate: false });
  }

  heading(frame, group) {
    const [east, north] = frame.position;
    const reach = this.side / 22;
    const turned = (angle, far) => at([east + far * Math.cos(angle), north + far * Math.sin(angle)]);
    const yaw = frame.yaw_rad;
    const wings = [turned(yaw - 0.16, 0.78 * reach), turned(yaw, reach), turned(yaw + 0.16, 0.78 * reach)];
    for (const [color, weight] of [['#111', 5], ['#ffffff', 2.5]]) {
      L.polyline([[at(frame.position), turned(yaw, reach)], wings], { color, weight, interactive: false }).addTo(group);
    }
  }

  cross(truth, group) {
    const arms = L.divIcon({ className: 'truth', iconSize: [18, 18], html: CROSS });
    L.marker(at(truth), { icon: arms, interactive: false, keyboard: false }).addTo(group);
  }

  belief(heat, canvas) {
    this.beliefLayer.clearLayers();
    if (!heat || !canvas) return;
    const { west_m: west, north_m: north, width_m: width, height_m: height } = heat;
    const box = [[north - height, west], [north, west + width]];
    L.imageOverlay(canvas.toDataURL(), box, { className: 'heat', opacity: 0.85 }).addTo(this.beliefLayer);
  }
}

const CROSS = '<svg width="18" height="18" viewBox="0 0 18 18"><path d="M9 1v16M1 9h16" stroke="#000" '
  + 'stroke-width="4.5" stroke-opacity=".6"/><path d="M9 1.5v15M1.5 9h15" stroke="#fff" stroke-width="2"/></svg>';

function escapeText(text) {
  return element('i', {}, text).innerHTML;
}
