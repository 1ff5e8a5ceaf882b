// The cells' pictures: asked for by the dozen, for a request for each would be slower than the eye.

const MOST = 60, AT_ONCE = 3, KEPT = 3000;

export class Crops {
  constructor() {
    this.made = new Map(); // cell -> address of its picture, the one that was used last at the end
    this.wanted = new Map(); // cell -> the image that waits for it
    this.asking = 0;
  }

  show(cell, image) {
    const made = this.made.get(cell);
    if (!made) {
      this.wanted.set(cell, image);
      if (this.wanted.size === 1) setTimeout(() => this.ask());
      return;
    }
    this.made.delete(cell);
    this.made.set(cell, made);
    image.src = made;
  }

  // It has gone out of sight before it came.
  forget(cell) {
    this.wanted.delete(cell);
  }

  async ask() {
    if (this.asking >= AT_ONCE || !this.wanted.size) return;
    this.asking++;
    const batch = [...this.wanted].slice(0, MOST);
    for (const [cell] of batch) this.wanted.delete(cell);
    this.ask();
    try {
      const response = await fetch(`crops?cells=${batch.map(([cell]) => cell).join()}`);
      const bytes = await response.arrayBuffer();
      const sizes = response.headers.get("X-Sizes").split(",").map(Number);
      let begin = 0;
      batch.forEach(([cell, image], place) => {
        const address = URL.createObjectURL(new Blob([bytes.slice(begin, begin + sizes[place])], { type: "image/jpeg" }));
        begin += sizes[place];
        this.made.set(cell, address);
        image.src = address;
      });
      for (const [cell, address] of [...this.made].slice(0, Math.max(0, this.made.size - KEPT))) {
        URL.revokeObjectURL(address);
        this.made.delete(cell);
      }
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 500));
      for (const [cell, image] of batch) if (image.isConnected) this.wanted.set(cell, image);
    }
    this.asking--;
    this.ask();
  }
}
