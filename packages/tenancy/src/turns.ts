/** Flights of one connection go one at a time, in call order. */
export class Turns {
  #last: Promise<unknown> | undefined;

  /** Ends with the flight under way and those behind it; undefined while there is none. Never rejects. */
  get last(): Promise<unknown> | undefined {
    return this.#last;
  }

  /** Runs it when those before it are over: at once, when there are none. */
  take<T>(run: () => Promise<T>): Promise<T> {
    const result = this.#last === undefined ? run() : this.#last.then(run);
    const done = () => {
      if (this.#last === turn) this.#last = undefined;
    };
    const turn = result.then(done, done);
    this.#last = turn;
    return result;
  }
}
