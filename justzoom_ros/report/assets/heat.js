// Strengths over a part of the map: grey pictures in colour, on the imagery.

const GLOW = [[13, 8, 135], [126, 3, 168], [204, 71, 120], [248, 149, 64], [240, 249, 33]];

function glow(strength) {
  const at = Math.min(strength * (GLOW.length - 1), GLOW.length - 1.001);
  const k = Math.floor(at);
  return GLOW[k].map((from, c) => from + (at - k) * (GLOW[k + 1][c] - from));
}

async function load(uri) {
  const picture = new Image();
  picture.src = uri;
  await picture.decode();
  return picture;
}

// A canvas of the strengths in colour, clear where there are none.
async function heatCanvas(heat) {
  const picture = await load(heat.uri);
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [picture.naturalWidth, picture.naturalHeight];
  const pen = canvas.getContext('2d', { willReadFrequently: true });
  pen.drawImage(picture, 0, 0);
  const pixels = pen.getImageData(0, 0, canvas.width, canvas.height);
  for (let k = 0; k < pixels.data.length; k += 4) {
    const strength = pixels.data[k] / 255;
    pixels.data.set(glow(strength), k);
    pixels.data[k + 3] = strength < 0.02 ? 0 : 255 * (0.08 + 0.87 * strength);
  }
  pen.putImageData(pixels, 0, 0);
  return canvas;
}

// Draws a window of the imagery, strengths over it, the truth as a cross and the fix as a ring.
function drawPanel(canvas, imagery, map, window, heat, colours, frame) {
  const px = 2 * Math.max(120, Math.round(canvas.clientWidth || 240));
  const wide = Math.max(window.width_m, window.height_m);
  [canvas.width, canvas.height] = [px, px];
  const pen = canvas.getContext('2d');
  const scale = px / wide;
  const left = window.west_m - (wide - window.width_m) / 2;
  const top = window.north_m + (wide - window.height_m) / 2;
  const place = ([east, north]) => [(east - left) * scale, (top - north) * scale];
  pen.filter = 'grayscale(0.5) brightness(0.72)';
  const [side, [east, north]] = [map.side_m, map.offset_m];
  pen.drawImage(imagery, ...place([east - side / 2, north + side / 2]), side * scale, side * scale);
  pen.filter = 'none';
  pen.imageSmoothingEnabled = false;
  if (colours) {
    pen.drawImage(colours, ...place([heat.west_m, heat.north_m]), heat.width_m * scale, heat.height_m * scale);
  }
  if (frame.truth) cross(pen, ...place(frame.truth), px / 24);
  if (frame.position) ring(pen, ...place(frame.position), px / 30, frame.status);
}

function twice(pen, colour, width) {
  pen.lineWidth = width * 2.2;
  pen.strokeStyle = 'rgba(0,0,0,0.65)';
  pen.stroke();
  pen.lineWidth = width;
  pen.strokeStyle = colour;
  pen.stroke();
}

function cross(pen, x, y, reach) {
  pen.beginPath();
  pen.moveTo(x - reach, y); pen.lineTo(x + reach, y);
  pen.moveTo(x, y - reach); pen.lineTo(x, y + reach);
  twice(pen, '#ffffff', 3);
}

function ring(pen, x, y, radius, status) {
  pen.beginPath();
  pen.arc(x, y, radius, 0, 2 * Math.PI);
  twice(pen, MARKS[status] || MARKS.no_fix, 3);
}
