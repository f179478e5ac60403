// The page: what the data says, in its places; the slider that shows one frame after another.

const byId = (id) => document.getElementById(id);

class Report {
  constructor(data) {
    this.data = data;
    this.frames = data.frames;
    this.at = -1;
    this.timer = null;
    this.head();
    this.charts = data.charts.map((chart) => new Chart(chart, (k) => this.show(k)));
    byId('charts').classList.toggle('many', data.charts.length > 1);
    byId('charts').append(...this.charts.map((chart) => chart.root));
    this.failures();
    byId('tables').append(...data.tables.map(tableElement));
    byId('footer').textContent = data.footer;
    if (data.map) this.stage();
  }

  head() {
    byId('title').textContent = this.data.title;
    byId('verdict').textContent = this.data.verdict;
    byId('about').replaceChildren(...this.data.about.map((words) => element('li', {}, words)));
    byId('tiles').replaceChildren(...this.data.tiles.map(tileElement));
  }

  stage() {
    byId('stage').hidden = false;
    this.map = new MapView(byId('map'), this.data, (k) => this.show(k));
    this.imagery = load(this.data.map.uri);
    this.frames.forEach((frame, k) => this.map.add(frame, k));
    const slider = byId('slider');
    slider.max = Math.max(this.frames.length - 1, 0);
    slider.addEventListener('input', () => this.show(Number(slider.value)));
    byId('back').addEventListener('click', () => this.show(this.at - 1));
    byId('ahead').addEventListener('click', () => this.show(this.at + 1));
    byId('play').addEventListener('click', () => this.play(!this.timer));
    if (this.frames.length) this.show(this.first(), false);
  }

  // The frame that the address asks for, else the first with a fix.
  first() {
    const asked = /^#frame=(\d+)$/.exec(location.hash);
    if (asked && Number(asked[1]) <= this.frames.length) return Math.max(Number(asked[1]) - 1, 0);
    return Math.max(this.frames.findIndex((frame) => frame.status === 'fix'), 0);
  }

  show(number, remember = true) {
    if (number < 0 || number >= this.frames.length) return;
    this.at = number;
    const frame = this.frames[number];
    byId('slider').value = number;
    byId('place').textContent = `${number + 1} / ${this.frames.length}`;
    this.map.mark(frame);
    for (const chart of this.charts) chart.mark(number);
    byId('now').replaceChildren(...nowElements(frame, this.data.frame_word));
    this.camera(frame);
    this.panel('belief', frame.belief, frame, 'Belief after it');
    this.panel('evidence', frame.evidence, frame, 'What it says alone');
    if (remember && !this.timer && !this.data.live) history.replaceState(null, '', `#frame=${number + 1}`);
  }

  camera(frame) {
    const picture = byId('camera').querySelector('img');
    byId('camera').hidden = !frame.image;
    if (frame.image) picture.src = frame.image;
    byId('camera').querySelector('figcaption').textContent = `Camera, ${frame.name}`;
  }

  async panel(id, heat, frame, words) {
    const root = byId(id);
    root.hidden = !heat;
    if (!heat) return id === 'belief' ? this.map.belief(null) : undefined;
    const [imagery, colours] = await Promise.all([this.imagery, heatCanvas(heat)]);
    if (this.frames[this.at] !== frame) return undefined;
    const window = frame.evidence || heat;  // both panels show the same ground
    drawPanel(root.querySelector('canvas'), imagery, this.data.map, window, heat, colours, frame);
    root.querySelector('figcaption').textContent = `${words}, ${metres(window.width_m)} wide`;
    if (id === 'belief') this.map.belief(heat, colours);
    return undefined;
  }

  play(on) {
    clearInterval(this.timer);
    this.timer = null;
    if (on) {
      if (this.at >= this.frames.length - 1) this.show(0);
      this.timer = setInterval(() => this.step(), 250);
    }
    byId('play').innerHTML = on ? '&#10073;&#10073;' : '&#9654;';
    byId('play').setAttribute('aria-label', on ? 'Pause' : 'Play');
  }

  step() {
    if (this.at >= this.frames.length - 1) return this.play(false);
    return this.show(this.at + 1);
  }

  failures() {
    const { worst, note } = this.data;
    const root = byId('failures');
    root.hidden = !worst.length;
    const shown = worst.slice(0, 20).map((k) => this.failure(k));
    const more = worst.length > 20 ? `and ${worst.length - 20} more. ` : '';
    root.replaceChildren(
      element('h2', {}, 'What failed, worst first'),
      element('div', { class: 'list' }, ...shown),
      element('p', { class: 'note' }, more + note),
    );
  }

  failure(number) {
    const frame = this.frames[number];
    const go = () => {
      this.show(number);
      const still = matchMedia('(prefers-reduced-motion: reduce)').matches;
      byId('stage').scrollIntoView({ behavior: still ? 'auto' : 'smooth', block: 'start' });
    };
    const picture = frame.image ? element('img', { src: frame.image, alt: '', loading: 'lazy' }) : element('span');
    const time = frame.time_s === null ? '' : `, ${seconds(frame.time_s)}`;
    const words = element('span', {},
      element('span', { class: 'what' }, `${SEVERITY[frame.severity]} `),
      element('span', { class: 'why' }, `${this.data.frame_word} ${frame.name}${time}${frame.reason ? `: ${frame.reason}` : ''}`));
    const off = element('span', { class: 'off' }, frame.error_m === null ? '' : `${metres(frame.error_m)} off`);
    return element('button', { class: 'failure', type: 'button', onclick: go }, picture, words, off);
  }
}

function tileElement(tile) {
  return element('div', { class: `tile ${tile.mood}` },
    element('div', { class: 'label' }, tile.label),
    element('div', { class: tile.value.length > 13 ? 'value long' : 'value' }, tile.value),
    element('div', { class: 'note' }, tile.note));
}

function tableElement(table) {
  const head = element('tr', {}, ...table.columns.map((name) => element('th', { scope: 'col' }, name)));
  const rows = table.rows.map((row) => element('tr', {}, ...row.map(cellElement)));
  return element('div', { class: 'sheet' },
    element('h3', {}, table.title),
    element('table', {}, element('thead', {}, head), element('tbody', {}, ...rows)),
    table.note ? element('p', { class: 'note' }, table.note) : '');
}

function cellElement(value) {
  if (typeof value !== 'number') return element('td', {}, value === null ? '-' : value);
  const bar = element('span', { class: 'bar', style: `--share:${(100 * value).toFixed(1)}%` });
  return element('td', {}, share(value), bar);
}

function nowElements(frame, word) {
  const pill = frame.severity === 'wrong' ? 'wrong' : frame.status;
  const name = frame.severity === 'wrong' ? SEVERITY.wrong : STATUS[frame.status];
  const big = frame.error_m === null ? '' : `${metres(frame.error_m)} off`;
  const sure = frame.confidence === null ? '' : `${Math.round(100 * frame.confidence)} % sure`;
  const radius = frame.radius_m === null ? '' : `90 % within ${metres(frame.radius_m)}`;
  const facts = [radius, sure, frame.yaw_rad === null ? '' : `heading ${compass(frame.yaw_rad)}\u00b0`];
  const where = frame.latlon ? frame.latlon.map((v) => v.toFixed(7)).join(', ') : '';
  const when = [
    frame.time_s === null ? `${word} ${frame.name}` : `${word} ${frame.name} at ${seconds(frame.time_s)}`,
    frame.travelled_m === null ? '' : `after ${metres(frame.travelled_m)}`,
    frame.latency_ms === null ? '' : `took ${Math.round(frame.latency_ms)} ms`,
  ];
  const joined = (parts) => parts.filter(Boolean).join(' \u00b7 ');
  return [
    element('div', { class: 'line' }, element('span', { class: `pill ${pill}` }, name), element('span', { class: 'big' }, big)),
    element('div', {}, joined(facts)),
    frame.reason ? element('div', {}, frame.reason) : '',
    element('div', { class: 'sub' }, where),
    element('div', { class: 'sub' }, joined(when)),
  ].filter(Boolean);
}

const report = new Report(JSON.parse(byId('data').textContent));
