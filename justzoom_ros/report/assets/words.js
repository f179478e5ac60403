// Elements and figures as text. Everything that comes from data goes in as text, never as HTML.

function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith('on')) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== ''));
  return made;
}

function metres(value) {
  if (value === null || value === undefined) return '-';
  if (value >= 10000) return `${(value / 1000).toFixed(1)} km`;
  return value < 10 ? `${value.toFixed(1)} m` : `${Math.round(value)} m`;
}

function seconds(value) {
  const whole = Math.floor(value);
  const rest = String(whole % 60).padStart(2, '0');
  return value < 60 ? `${value.toFixed(1)} s` : `${Math.floor(whole / 60)}:${rest} min`;
}

const share = (value) => `${(100 * value).toFixed(1)} %`;
const compass = (yaw) => Math.round((450 - (yaw * 180) / Math.PI) % 360) % 360;

const STATUS = { fix: 'Fix', no_fix: 'No fix', error: 'Unusable image', missed: 'Passed over' };
const SEVERITY = {
  wrong: 'Sure and wrong',
  outside: 'Truth outside its 90 % ellipse',
  error: 'Image cannot be used',
  no_fix: 'No fix',
};
