// What is decided goes to the server from here, and what it and others say comes back.

const AGAIN = 500; // milliseconds

export class Link {
  // `heard` is told each answer and each change; `state` is told "saved", "waits" or "lost".
  constructor({ name, heard, state }) {
    Object.assign(this, { name, heard, state });
    this.queue = [];
    this.sending = false;
    this.version = 0;
    this.connected = true;
  }

  // The cells, which stay as they are, and what was said of them; or how far they are prepared.
  async begin() {
    const asked = ["api/cells", `api/review?by=${encodeURIComponent(this.name())}`];
    const [cells, said] = await Promise.all(asked.map(async (path) => (await fetch(path)).json()));
    return said.changes && cells.cells ? { ...cells, ...said } : { ...cells, ...said, cells: null };
  }

  send(action) {
    this.queue.push({ token: crypto.randomUUID(), ...action });
    this.tell();
    this.pump();
    return this.queue.at(-1).token;
  }

  get waits() {
    return this.queue.length;
  }

  tell() {
    this.state(!this.connected ? "lost" : this.queue.length ? "waits" : "saved");
  }

  // One request at a time, in the order of the keys; what was not answered is sent again.
  async pump() {
    if (this.sending) return;
    this.sending = true;
    while (this.queue.length) {
      const actions = this.queue.slice(0, 50);
      try {
        const told = await this.post("api/act", { actions });
        this.queue.splice(0, actions.length);
        this.connected = true;
        this.heard(told);
      } catch (error) {
        if (error.final) {
          this.queue.splice(0, actions.length);
          this.heard({ results: actions.map(({ token }) => ({ token, refused: error.message })) });
        } else {
          this.connected = false;
          this.tell();
          await new Promise((resolve) => setTimeout(resolve, AGAIN));
        }
      }
    }
    this.sending = false;
    this.tell();
  }

  async post(path, body) {
    const response = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ by: this.name(), ...body }) });
    const told = await response.json();
    if (response.ok) return told;
    throw Object.assign(new Error(told.error), { final: response.status !== 503, unseen: told.unseen });
  }

  // Hear of what is said in other tabs; after a break, of all that was said meanwhile.
  listen() {
    this.source?.close();
    this.source = new EventSource(`api/events?by=${encodeURIComponent(this.name())}&since=${this.version}`);
    this.source.onopen = () => {
      this.connected = true;
      this.tell();
    };
    this.source.onmessage = (event) => this.heard(JSON.parse(event.data));
    this.source.onerror = () => {
      this.connected = false;
      this.tell();
      this.source.close();
      clearTimeout(this.again);
      this.again = setTimeout(() => this.listen(), AGAIN);
    };
  }
}
