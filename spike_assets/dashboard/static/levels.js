// Resistance levels on the chart: line segments as a series primitive. Which levels there are is chart.js's business.

/**
 * @typedef {object} Segment
 * @property {number} from seconds, the event's candle
 * @property {number | null} to seconds, the candle that broke it; null where none has
 * @property {number} price
 * @property {boolean} suspect
 * @property {boolean} chosen
 * @property {string} label
 *
 * @typedef {{line: string, faded: string, chosen: string, back: string, font: string}} Colors
 */

/** How many unbroken levels are drawn: those nearest to the newest close. */
export const NEAREST = 10;

/**
 * Choose what is drawn: every broken level, and of the unbroken ones the nearest.
 * @param {import("./api.js").Level[]} levels
 * @param {number} close
 * @param {string} chosen id of the event that is looked at; its level is drawn in any case
 */
export function drawn(levels, close, chosen) {
  const unbroken = levels.filter((level) => !level.broken_at);
  const nearest = unbroken.sort((a, b) => Math.abs(a.level - close) - Math.abs(b.level - close)).slice(0, NEAREST);
  const kept = new Set(nearest);
  return levels.filter((level) => level.broken_at || kept.has(level) || level.event_id === chosen);
}

/** A series primitive that draws segments from their candle to where they were broken, or to the right edge. */
export class Levels {
  /** @type {Segment[]} */
  #segments = [];
  /** @type {Colors} */
  #colors = { line: "#e0a040", faded: "#888", chosen: "#fff", back: "#000", font: "11px sans-serif" };
  #first = 0;
  /** @type {any} */
  #at = null;
  #views = [{ zOrder: () => "normal", renderer: () => ({ draw: (target) => this.#draw(target) }) }];

  attached(at) {
    this.#at = at;
  }

  detached() {
    this.#at = null;
  }

  updateAllViews() {}

  paneViews() {
    return this.#views;
  }

  /**
   * @param {Segment[]} segments
   * @param {number} first seconds, the oldest candle of the chart: older levels come in from its left edge
   * @param {Colors} colors
   */
  set(segments, first, colors) {
    this.#segments = segments;
    this.#first = first;
    this.#colors = colors;
    this.#at?.requestUpdate();
  }

  #draw(target) {
    if (!this.#at) return;
    const { chart, series } = this.#at;
    const scale = chart.timeScale();
    target.useBitmapCoordinateSpace((space) => {
      const { context, bitmapSize, horizontalPixelRatio: rx, verticalPixelRatio: ry } = space;
      const width = bitmapSize.width;
      const labels = [];
      for (const segment of this.#segments) {
        const y = series.priceToCoordinate(segment.price);
        if (y === null) continue;
        const left = segment.from < this.#first ? 0 : scale.timeToCoordinate(segment.from);
        const right = segment.to === null ? null : scale.timeToCoordinate(segment.to);
        if (left === null || (segment.to !== null && right === null)) continue;
        const [x1, x2] = [Math.max(0, left * rx), right === null ? width : Math.min(width, right * rx)];
        if (x2 <= 0 || x1 >= width) continue;
        this.#line(context, segment, x1, x2, Math.round(y * ry), ry);
        if (segment.to === null || segment.chosen) labels.push({ segment, x: x2, y: Math.round(y * ry) });
      }
      this.#labels(context, labels, rx, ry);
    });
  }

  #line(context, segment, x1, x2, y, ry) {
    const { line, faded, chosen } = this.#colors;
    const broken = segment.to !== null;
    const thick = Math.max(1, Math.round((segment.chosen ? 2 : 1) * ry));
    context.save();
    context.strokeStyle = segment.chosen ? chosen : broken ? faded : line;
    context.lineWidth = thick;
    if (broken) context.setLineDash([2 * ry, 3 * ry]);
    else if (segment.suspect) context.setLineDash([8 * ry, 4 * ry]);
    context.beginPath();
    // On whole pixels, a thin line is sharp.
    const middle = thick % 2 ? y + 0.5 : y;
    context.moveTo(x1, middle);
    context.lineTo(x2, middle);
    context.stroke();
    if (broken) {
      context.setLineDash([]);
      context.beginPath();
      context.moveTo(x2, y - 3 * ry);
      context.lineTo(x2, y + 3 * ry);
      context.stroke();
    }
    context.restore();
  }

  /** Prices at the right edge, the chosen level's first, then as many as have room. */
  #labels(context, labels, rx, ry) {
    const taken = [];
    context.save();
    context.scale(rx, ry);
    context.font = this.#colors.font;
    context.textBaseline = "bottom";
    labels.sort((a, b) => Number(b.segment.chosen) - Number(a.segment.chosen));
    for (const { segment, x, y } of labels) {
      const at = y / ry;
      if (at < 14 || taken.some((other) => Math.abs(other - at) < 13)) continue;
      taken.push(at);
      const text = segment.suspect ? `${segment.label} ?` : segment.label;
      const wide = context.measureText(text).width;
      // At the right edge in front of it, of a broken level behind its end.
      const right = segment.to === null ? x / rx - 4 : x / rx + wide + 5;
      context.fillStyle = this.#colors.back;
      context.globalAlpha = 0.75;
      context.fillRect(right - wide - 2, at - 14, wide + 4, 12);
      context.globalAlpha = 1;
      context.fillStyle = segment.chosen ? this.#colors.chosen : this.#colors.line;
      context.fillText(text, right - wide, at - 2);
    }
    context.restore();
  }
}
