/** A set of names from which one can be drawn by its place: add, remove and draw take the same time however many there are. */
export class Roster<T> {
  readonly #names: T[] = [];
  readonly #places = new Map<T, number>();

  get size(): number {
    return this.#names.length;
  }
  /** In no order that means anything. */
  get all(): readonly T[] {
    return this.#names;
  }
  /** @param share in [0, 1) */
  draw(share: number): T | undefined {
    return this.#names[Math.min(this.#names.length - 1, Math.floor(share * this.#names.length))];
  }
  add(name: T): void {
    if (this.#places.has(name)) return;
    this.#places.set(name, this.#names.length);
    this.#names.push(name);
  }
  remove(name: T): void {
    const place = this.#places.get(name);
    if (place === undefined) return;
    this.#places.delete(name);
    const last = this.#names.pop() as T;
    if (last === name) return;
    this.#names[place] = last;
    this.#places.set(last, place);
  }
}
