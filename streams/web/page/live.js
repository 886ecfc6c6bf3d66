// The socket: hello, snapshot, then frames. Whenever a frame is missing it connects anew and takes a fresh snapshot, for ever.
import { wallPath } from "./address.js";
import { followClock } from "./time.js";

const FIRST_WAIT = 0.5; // seconds before the first new attempt; each failure doubles it
const LONGEST_WAIT = 15;
const SILENCE = 10; // seconds without a frame after which the connection counts as dead: the server sends some each second
const STEADY = 5; // seconds a connection must hold before its end starts the waits again from the first

// The wait before attempt `failures`, seconds: doubled each time, with up to half of it taken off by chance, so that the browsers of a whole
// control room do not come back to a restarted server at once.
export function backOff(failures, chance = Math.random()) {
  return Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** Math.min(failures, 10)) * (1 - chance / 2);
}

export class Live {
  // onFrame(frame): each frame in order. onState(state): "connecting", "live", "waiting" or "refused" (sign in first).
  constructor({ onFrame, onState, open = (address, protocol) => new WebSocket(address, protocol) }) {
    this.onFrame = onFrame;
    this.onState = onState;
    this.open = open;
    this.query = "";
    this.socket = null;
    this.timer = 0;
    this.failures = 0;
    this.state = "waiting";
    this.heard = 0; // performance.now() of the last frame
    this.retryAt = 0; // performance.now() of the next attempt
    this.epoch = null;
    this.n = null;
    this.reason = "";
    setInterval(() => this.watch(), 1000);
    // A browser that slept holds a dead socket: it looks at once when it wakes.
    addEventListener("online", () => this.again());
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.watch(); });
  }

  // labels: the filters that the server applies. Connects, or connects anew with other labels.
  connect(labels = []) {
    this.query = labels.length ? `?${new URLSearchParams(labels.map((label) => ["label", label]))}` : "";
    this.failures = 0;
    this.start();
  }

  start() {
    this.close();
    this.become("connecting");
    const address = new URL(wallPath(`/api/v1/live${this.query}`), location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = this.open(address.href, "fvq.v1");
    this.socket = socket;
    this.epoch = null;
    this.n = null;
    this.opened = performance.now();
    socket.onopen = () => { if (socket === this.socket) socket.send('{"type":"hello"}'); };
    socket.onmessage = (message) => { if (socket === this.socket) this.take(message.data); };
    socket.onclose = (event) => { if (socket === this.socket) this.lost(event.code, event.reason); };
  }

  close() {
    clearTimeout(this.timer);
    const socket = this.socket;
    this.socket = null;
    socket?.close();
  }

  take(text) {
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      this.lost(0);
      return;
    }
    this.heard = performance.now();
    if (Number.isFinite(frame.at)) followClock(frame.at);
    if (frame.type === "snapshot") {
      this.epoch = frame.epoch;
      this.n = frame.n;
      this.become("live");
    } else if (frame.n !== undefined) {
      const gap = this.n === null || frame.n !== this.n + 1 || (frame.epoch !== undefined && frame.epoch !== this.epoch);
      if (gap) {
        this.start();
        return;
      }
      this.n = frame.n;
    }
    if (frame.type === "bye") this.lost(0);
    else this.onFrame(frame);
  }

  lost(code, reason = "") {
    this.close();
    this.reason = reason; // the server's own words, where it said why
    if (code === 4401 || code === 4403) {
      this.become("refused");
      return;
    }
    if (performance.now() - this.opened > STEADY * 1000) this.failures = 0;
    const wait = backOff(this.failures) * 1000;
    this.failures += 1;
    this.retryAt = performance.now() + wait;
    this.timer = setTimeout(() => this.start(), wait);
    this.become("waiting");
  }

  watch() {
    const quiet = performance.now() - Math.max(this.heard, this.opened ?? 0);
    if (this.socket && quiet > SILENCE * 1000) this.lost(0);
  }

  again() {
    if (this.state === "waiting") this.start();
  }

  become(state) {
    if (state === this.state) return;
    this.state = state;
    this.onState(state);
  }

  send(message) {
    if (this.state === "live" && this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  // Seconds since the last frame; null before the first.
  age() {
    return this.heard ? (performance.now() - this.heard) / 1000 : null;
  }
}
