// Reads that are asked for while they are under way: one at a time, once more where news came, again where one failed.

import { ApiError } from "./api.js";

const FIRST_WAIT = 1000;
const LONGEST_WAIT = 15_000;

/** One thing that is read from the server, whenever it may have changed. */
export class Reading {
  #asked = new AbortController();
  #under = false;
  #again = false;
  #tries = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {(signal: AbortSignal) => Promise<void>} read reads and shows; what it reads may change until it is called
   * @param {(text: string) => void} failed is told what went wrong, and nothing once it has gone well
   */
  constructor(read, failed) {
    this.read = read;
    this.failed = failed;
  }

  /** Read something else: what was asked for before is not wanted any more. */
  anew() {
    this.stop();
    this.#run();
  }

  /** Read again, for there are news: once what is under way has come, for it may be older than they. */
  again() {
    if (this.#under) this.#again = true;
    else this.#run();
  }

  /** Read nothing. */
  stop() {
    this.#asked.abort();
    clearTimeout(this.#timer);
    this.#under = this.#again = false;
    this.#tries = 0;
  }

  async #run() {
    clearTimeout(this.#timer);
    const asked = new AbortController();
    this.#asked = asked;
    this.#under = true;
    try {
      await this.read(asked.signal);
      if (asked.signal.aborted) return;
      this.#tries = 0;
      this.failed("");
    } catch (error) {
      if (asked.signal.aborted) return;
      this.failed(/** @type {Error} */ (error).message);
      if (!(error instanceof ApiError)) reportError(error);
      else if (error.status === 0 || error.status >= 500) this.#later();
    }
    this.#under = false;
    if (!this.#again) return;
    this.#again = false;
    this.#run();
  }

  #later() {
    const wait = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** this.#tries);
    this.#tries += 1;
    this.#timer = setTimeout(() => this.#run(), wait);
  }
}
