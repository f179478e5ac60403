// The live page: frames come one by one, and the page follows the newest until someone looks back.

const KEPT = 600;

class LiveReport {
  constructor(report) {
    this.report = report;
    this.frames = report.frames;
    this.chart = new Chart(this.chartData(), (k) => report.show(k));
    report.charts.push(this.chart);
    byId('charts').append(this.chart.root);
    byId('play').hidden = true;
    byId('stage').before(byId('tiles'));
    this.say('Waiting for the first frame.');
    this.listen();
  }

  listen() {
    const source = new EventSource('events');
    source.addEventListener('history', (event) => this.restart(JSON.parse(event.data)));
    source.addEventListener('frame', (event) => this.add(JSON.parse(event.data)));
    source.onerror = () => this.say('The connection is lost; trying again.', 'bad');
  }

  say(words, mood = '') {
    byId('verdict').className = mood;
    byId('verdict').replaceChildren(element('span', { class: 'mood' }, words));
  }

  restart(frames) {
    this.frames.splice(0, this.frames.length, ...frames);
    this.redraw();
    this.report.at = this.frames.length - 1;
  }

  redraw() {
    this.report.map.clear();
    this.frames.forEach((frame, k) => this.report.map.add(frame, k));
  }

  add(frame) {
    const follows = this.report.at >= this.frames.length - 1;
    this.frames.push(frame);
    if (this.frames.length > KEPT) this.forget();
    else this.report.map.add(frame, this.frames.length - 1);
    byId('slider').max = this.frames.length - 1;
    Object.assign(this.chart.data, this.chartData());
    if (this.chart.width) this.chart.draw();
    this.tiles(frame);
    if (follows) this.report.show(this.frames.length - 1);
    else byId('place').textContent = `${this.report.at + 1} / ${this.frames.length}`;
  }

  // The oldest sixth at once, so that the map is drawn anew rarely.
  forget() {
    const gone = KEPT / 6;
    this.frames.splice(0, gone);
    this.report.at = Math.max(this.report.at - gone, 0);
    this.redraw();
  }

  tiles(frame) {
    const sure = frame.status === 'fix';
    this.say(sure ? 'The robot knows where it is.' : `No fix: ${frame.reason}`, sure ? 'good' : 'bad');
    const where = frame.latlon.map((v) => v.toFixed(5)).join(', ');
    const heading = frame.yaw_rad === null ? '-' : `${compass(frame.yaw_rad)}\u00b0`;
    const tiles = [
      { label: 'Status', value: STATUS[frame.status], note: '', mood: sure ? 'good' : 'bad' },
      { label: 'Position', value: where, note: 'latitude, longitude' },
      { label: '90 % within', value: metres(frame.radius_m), note: 'radius round it' },
      { label: 'Heading', value: heading, note: 'clockwise from north' },
      { label: 'Latency', value: frame.latency_ms === null ? '-' : `${Math.round(frame.latency_ms)} ms`, note: 'arrival to fix' },
      { label: 'Confidence', value: frame.confidence === null ? '-' : `${Math.round(100 * frame.confidence)} %`, note: 'first hypothesis' },
    ];
    byId('tiles').replaceChildren(...tiles.map((tile) => tileElement({ mood: '', ...tile })));
  }

  chartData() {
    const known = this.frames.filter((frame) => frame.radius_m !== null);
    const of = (status) => known.filter((frame) => status === null || frame.status === status);
    const series = (name, kind, colour, status) => ({
      name, kind, colour, x: of(status).map((f) => f.time_s), y: of(status).map((f) => f.radius_m),
    });
    return {
      title: '90 % radius', x_label: 'seconds', y_label: 'metres', log_y: true, y_range: null,
      frame_x: this.frames.length ? this.frames.map((frame) => frame.time_s) : [null],
      series: [
        series('', 'line', 'ink', null),
        series('fix', 'points', 'fix', 'fix'),
        series('no fix (unsure)', 'points', 'no_fix', 'no_fix'),
      ],
    };
  }
}

new LiveReport(report);
