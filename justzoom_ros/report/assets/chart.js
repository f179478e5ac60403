// Charts as SVG: lines, steps, bands and points over two axes, one of which may be logarithmic.

const SVG = 'http://www.w3.org/2000/svg';
const INKS = { ink: 'ink', fix: 'fix', no_fix: 'no_fix', band: 'band', a: 'a', b: 'b', c: 'c', d: 'd' };
const inkOf = (name) => `var(--${INKS[name] || 'ink'})`;

function svgElement(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function niceTicks(low, high, count) {
  const raw = (high - low) / Math.max(count, 1);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((n) => n * power).find((n) => n >= raw);
  const ticks = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) {
    ticks.push(Number((k * step).toPrecision(12)));
  }
  return ticks;
}

function logTicks(low, high) {
  const ticks = [];
  const wide = high / low > 300;
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
    for (const lead of wide ? [1] : [1, 2, 5]) ticks.push(lead * 10 ** power);
  }
  return ticks.filter((tick) => tick >= low * 0.999 && tick <= high * 1.001);
}

class Chart {
  constructor(data, show) {
    this.data = data;
    this.show = show;
    this.root = element('div', { class: data.frame_x.length ? 'chart frames' : 'chart' });
    this.root.append(element('h3', {}, data.title), this.legend());
    this.picture = svgElement('svg', { role: 'img', 'aria-label': data.title });
    this.root.append(this.picture);
    if (data.frame_x.length) this.picture.addEventListener('click', (event) => this.choose(event));
    this.at = 0;
    this.width = 0;
    new ResizeObserver(() => this.resize()).observe(this.root);
  }

  legend() {
    const named = this.data.series.filter((series) => series.name);
    const items = named.map((series) =>
      element('span', {}, element('i', { style: `background:${inkOf(series.colour)}` }), series.name));
    return element('div', { class: 'legend' }, ...items);
  }

  resize() {
    const width = Math.max(240, Math.round(this.root.clientWidth - 28));
    if (Math.abs(width - this.width) < 2) return;
    this.width = width;
    this.draw();
  }

  ranges() {
    const xs = this.data.series.flatMap((series) => series.x);
    const ys = this.data.series.flatMap((series) => series.y).filter((y) => y !== null);
    const ends = (values) => values.reduce(
      ([low, high], v) => [Math.min(low, v), Math.max(high, v)], [Infinity, -Infinity]);
    let [left, right] = ends(xs.length ? xs : [0, 1]);
    let [low, high] = this.data.y_range || ends(ys.length ? ys : [0, 1]);
    if (this.data.log_y) low = Math.max(low, 0.1);
    if (right - left < 1e-9) right = left + 1;
    if (high <= low) high = low * 1.2 + 1;
    if (!this.data.y_range) high = this.data.log_y ? high * 1.25 : high + 0.05 * (high - low);
    return { left, right, low, high };
  }

  draw() {
    const box = { l: 46, r: 12, t: 8, b: 36 };
    const height = Math.min(300, Math.max(200, Math.round(this.width * 0.34)));
    const r = this.ranges();
    const log = this.data.log_y;
    const rise = (y) => (log ? Math.log(Math.max(y, r.low) / r.low) / Math.log(r.high / r.low)
      : (y - r.low) / (r.high - r.low));
    this.x = (v) => box.l + ((v - r.left) / (r.right - r.left)) * (this.width - box.l - box.r);
    this.y = (v) => height - box.b - Math.min(1, Math.max(0, rise(v))) * (height - box.t - box.b);
    this.bottom = height - box.b;
    this.picture.setAttribute('viewBox', `0 0 ${this.width} ${height}`);
    this.picture.replaceChildren();
    this.axes(r, box, height);
    for (const series of this.data.series) this.add(series);
    this.cursor = svgElement('line', { y1: box.t, y2: this.bottom, stroke: 'var(--accent)', 'stroke-width': 1.5 });
    if (this.data.frame_x.length) this.picture.append(this.cursor);
    this.mark(this.at);
  }

  axes(r, box, height) {
    const right = this.width - box.r;
    const ticks = this.data.log_y ? logTicks(r.low, r.high) : niceTicks(r.low, r.high, 5);
    for (const tick of ticks) {
      const y = this.y(tick);
      this.line(box.l, y, right, y, 'var(--line)');
      this.text(box.l - 6, y + 4, String(tick), 'end');
    }
    for (const tick of niceTicks(r.left, r.right, this.width / 90)) {
      this.text(this.x(tick), this.bottom + 16, String(tick), 'middle');
    }
    this.line(box.l, this.bottom, right, this.bottom, 'var(--muted)');
    this.text((box.l + right) / 2, height - 3, this.data.x_label, 'middle');
    this.text(box.l + 5, box.t + 9, this.data.y_label, 'start');
  }

  line(x1, y1, x2, y2, stroke) {
    this.picture.append(svgElement('line', { x1, y1, x2, y2, stroke }));
  }

  text(x, y, words, anchor) {
    const made = svgElement('text', { x, y, 'text-anchor': anchor });
    made.textContent = words;
    this.picture.append(made);
  }

  add(series) {
    const colour = inkOf(series.colour);
    if (series.kind === 'points') {
      for (const [k, y] of series.y.entries()) {
        if (y === null) continue;
        this.picture.append(svgElement('circle', { cx: this.x(series.x[k]), cy: this.y(y), r: 3, fill: colour }));
      }
      return;
    }
    const path = this.path(series);
    if (series.kind === 'band' && path) {
      const [from, to] = [series.x[0], series.x[series.x.length - 1]].map(this.x);
      const d = `${path}L${to},${this.bottom}L${from},${this.bottom}Z`;
      this.picture.append(svgElement('path', { d, fill: colour }));
    } else {
      this.picture.append(svgElement('path', { d: path, fill: 'none', stroke: colour, 'stroke-width': 1.6 }));
    }
  }

  path(series) {
    let d = '';
    let pen = false;
    for (const [k, y] of series.y.entries()) {
      if (y === null) { pen = false; continue; }
      const [px, py] = [this.x(series.x[k]).toFixed(1), this.y(y).toFixed(1)];
      if (pen && series.kind === 'step') d += `H${px}V${py}`;
      else d += `${pen ? 'L' : 'M'}${px},${py}`;
      pen = true;
    }
    return d;
  }

  mark(number) {
    this.at = number;
    const x = this.data.frame_x[number];
    if (!this.cursor || x === null || x === undefined) return;
    this.cursor.setAttribute('x1', this.x(x));
    this.cursor.setAttribute('x2', this.x(x));
  }

  choose(event) {
    const frame = this.picture.getBoundingClientRect();
    const px = ((event.clientX - frame.left) / frame.width) * this.width;
    let best = 0;
    let least = Infinity;
    for (const [k, x] of this.data.frame_x.entries()) {
      const off = x === null ? Infinity : Math.abs(this.x(x) - px);
      if (off < least) [best, least] = [k, off];
    }
    this.show(best);
  }
}
