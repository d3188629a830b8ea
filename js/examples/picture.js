// SPDX-License-Identifier: MIT
// Draws a board: a cell for each block as it is now, and how many were in which state in each of the last frames.
import { STATES } from './board.js';

const COLUMN = 3; // pixels of a frame in the history
const GAP = 0.16; // of a cell
const WIDE = 1.6; // times as many cells in a row as there are rows, about
const LEAST_COLUMNS = 8;

// A canvas whose pixels are those of the screen; its context, in the page's pixels.
function prepare(canvas) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const scale = devicePixelRatio;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  const context = canvas.getContext('2d');
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

export class Picture {
  #cells;
  #history;
  #frames = [];
  counts = STATES.map(() => 0);

  constructor(cells, history) {
    this.#cells = cells;
    this.#history = history;
  }

  forget() {
    this.#frames = [];
  }

  // The board as it is; with `remember`, one more frame of the history.
  draw(board, remember) {
    const style = getComputedStyle(this.#cells);
    const colours = STATES.map((state) => style.getPropertyValue(`--${state}`));
    this.counts = STATES.map(() => 0);
    for (const state of board)
      this.counts[state]++;
    if (remember)
      this.#frames.push(this.counts);
    this.#drawCells(board, colours);
    this.#drawHistory(board.length, colours);
  }

  #drawCells(board, colours) {
    const columns = Math.max(LEAST_COLUMNS, 2 ** Math.ceil(Math.log2(Math.sqrt(board.length * WIDE))));
    const rows = Math.ceil(board.length / columns);
    const side = this.#cells.clientWidth / columns;
    this.#cells.style.aspectRatio = `${columns} / ${rows}`;
    const { context } = prepare(this.#cells);
    board.forEach((state, i) => {
      context.fillStyle = colours[state];
      context.beginPath();
      context.roundRect((i % columns + GAP / 2) * side, (Math.floor(i / columns) + GAP / 2) * side, side * (1 - GAP),
        side * (1 - GAP), side * 0.14);
      context.fill();
    });
  }

  // One column a frame, the newest at the right; the height is the pool.
  #drawHistory(capacity, colours) {
    const { context, width, height } = prepare(this.#history);
    const most = Math.ceil(width / COLUMN);
    this.#frames = this.#frames.slice(-most);
    this.#frames.forEach((counts, i) => {
      let top = height;
      counts.forEach((count, state) => {
        if (state === 0)
          return;
        const high = count / capacity * height;
        context.fillStyle = colours[state];
        context.fillRect(i * COLUMN, top -= high, COLUMN, high);
      });
    });
  }
}
