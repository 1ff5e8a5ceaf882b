// The cells' pictures: asked for by the dozen, for a request for each would be slower than the eye.

const MOST = 100, AT_ONCE = 3, KEPT = 3000;

export class Crops {
  // `ahead` gives the cells that are likely to be shown next.
  constructor(ahead) {
    this.ahead = ahead;
    this.made = new Map(); // cell -> its picture, the one that was used last at the end
    this.waiting = new Map(); // cell -> the image that waits for it
    this.asked = new Set(); // cells of which the server was asked
    this.asking = 0;
    this.soon = false;
  }

  show(cell, image) {
    const made = this.made.get(cell);
    if (!made) {
      this.waiting.set(cell, image);
      if (!this.soon) queueMicrotask(() => this.ask());
      this.soon = true;
      return;
    }
    this.made.delete(cell);
    this.made.set(cell, made);
    image.src = made;
  }

  // It has gone out of sight before it came.
  forget(cell) {
    this.waiting.delete(cell);
  }

  async ask() {
    this.soon = false;
    if (this.asking >= AT_ONCE) return;
    const batch = [...this.waiting.keys()].filter((cell) => !this.asked.has(cell)).slice(0, MOST);
    if (!batch.length) return;
    for (const cell of this.ahead()) {
      if (batch.length === MOST) break;
      if (!this.asked.has(cell) && !this.made.has(cell) && !this.waiting.has(cell)) batch.push(cell);
    }
    for (const cell of batch) this.asked.add(cell);
    this.asking++;
    this.ask();
    try {
      const response = await fetch(`crops?cells=${batch.join()}`);
      if (!response.ok) throw new Error(response.status);
      // In the address itself, for to make and to load an object's address costs more than to decode it.
      (await response.json()).forEach((picture, place) => this.take(batch[place], `data:image/jpeg;base64,${picture}`));
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
    for (const cell of batch) this.asked.delete(cell);
    this.asking--;
    this.ask();
  }

  take(cell, picture) {
    this.made.set(cell, picture);
    if (this.made.size > KEPT) this.made.delete(this.made.keys().next().value);
    const image = this.waiting.get(cell);
    if (!image) return;
    this.waiting.delete(cell);
    image.src = picture;
  }
}
