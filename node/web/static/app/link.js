// The connection to the nodes: finds one, says hello, repeats what was not answered, and comes back.
// Protocol: docs/protocol.md. The rules of coming back are those of the reference client, node/client_link.py.

const CONNECT_TIMEOUT_MS = 5_000;
const CONNECT_SOON_MS = 2_000;
const BACKOFF_MIN_MS = 100;
const BACKOFF_MAX_MS = 10_000;
const STEADY_MS = 5_000;
const QUIET_MS = 10_000;
const PONG_MS = 5_000;
const RETRY_MS = 250;
const CLIENT = "web/1.0";

const CLOSE_NORMAL = 1000;
const CLOSE_LOST = 1006;
const CLOSE_EXPIRED = 4014;

/** The node's answer to a request that it does not carry out; `code` as in the protocol. */
export class Refused extends Error {
  constructor({ code, msg, retry = false, retry_ms: retryMs = 0 }) {
    super(msg || code);
    this.code = code;
    this.retry = retry;
    this.retryMs = retryMs;
  }
}

/** The connection went before the answer came, and the request is not repeated by itself. */
export class Lost extends Error {}

export class Link {
  /**
   * @param {object} how
   * @param {() => string[]} how.urls addresses of the nodes, the nearest first
   * @param {boolean} how.movable whether a node that goes away may name another one
   * @param {() => object} how.credentials fields of hello that say who this is
   * @param {(welcome: object) => void} how.onWelcome after each hello; what it asks goes out before all that waits
   * @param {(push: object) => void} how.onPush
   * @param {(state: object) => void} how.onState `phase`: connecting, online, waiting, moving, ended
   */
  constructor(how) {
    this._how = how;
    this._urls = how.urls();
    this._calls = new Map();
    this._lastId = 0;
    this._failures = 0;
    this._timers = {};
    this._socket = null;
    this._online = false;
    this._moving = false;
    this.state = { phase: "connecting", node: null };
    this._wake = () => this.wake();
    this._offline = () => this._end(CLOSE_LOST, "this device is offline");
  }

  start() {
    addEventListener("online", this._wake);
    addEventListener("offline", this._offline);
    this._connect();
  }

  /** End for good; whoever waits for an answer is told. */
  stop() {
    removeEventListener("online", this._wake);
    removeEventListener("offline", this._offline);
    this._forget();
    this._rejectAll();
    this._tell({ phase: "ended", code: CLOSE_NORMAL });
  }

  /** Something changed for the better: do not wait any longer, and look whether the connection is alive. */
  wake() {
    if (this._online) this._probe();
    else if (this.state.phase === "waiting") this._connect();
  }

  /**
   * Ask something of the node: again when it says so, and on every new connection, until there is an answer.
   * @param {boolean} how.resumed it belongs to this connection: the next one begins with one of its own
   * @param {boolean} how.once nobody would miss it
   */
  ask(op, fields = {}, { resumed = false, once = false } = {}) {
    return new Promise((resolve, reject) => {
      const repeat = !resumed && !once;
      if (this.state.phase === "ended" || (!this._online && !repeat)) return reject(new Lost());
      const id = ++this._lastId;
      const positioned = fields.seq !== undefined;
      const call = { frame: JSON.stringify({ id, op, ...fields }), positioned, repeat, once, resolve, reject };
      this._calls.set(id, call);
      if (this._online) this._socket.send(call.frame);
    });
  }

  // --- one connection ---

  _connect() {
    this._forget();
    this._tell({ phase: this._moving ? "moving" : "connecting" });
    let socket;
    try {
      socket = new WebSocket(this._urls[0]);
    } catch {
      return this._end(CLOSE_LOST, "the address of the node is not allowed here");
    }
    this._socket = socket;
    this._openedAt = Date.now();
    socket.onopen = () => this._hello();
    socket.onmessage = (message) => this._take(JSON.parse(message.data));
    socket.onclose = (close) => this._end(close.code, close.reason);
    // While there are others to be tried, a machine that died without a word must not keep this client from them.
    this._expect(this._failures < this._urls.length - 1 ? CONNECT_SOON_MS : CONNECT_TIMEOUT_MS);
  }

  _expect(ms) {
    this._after("connect", ms, () => this._end(CLOSE_LOST, "no answer"));
  }

  _hello() {
    this._expect(CONNECT_TIMEOUT_MS);
    const id = ++this._lastId;
    const hello = { id, op: "hello", v: [1], client: CLIENT, ...this._how.credentials() };
    const resolve = (welcome) => this._welcome(welcome);
    const reject = (error) => this._end(CLOSE_LOST, error.message);
    this._calls.set(id, { resolve, reject, repeat: false, once: true });
    this._socket.send(JSON.stringify(hello));
  }

  _welcome(welcome) {
    clearTimeout(this._timers.connect);
    this._online = true;
    this._moving = false;
    if (this._epoch !== undefined && this._epoch !== welcome.epoch) this._rejectPositions();
    this._epoch = welcome.epoch;
    const waiting = [...this._calls.values()];
    const before = this.state.lastNode;
    this._tell({ phase: "online", node: welcome.node, lastNode: welcome.node, movedFrom: before !== welcome.node ? before : null });
    this._how.onWelcome(welcome);
    for (const call of waiting) this._socket.send(call.frame);
    this._listen();
  }

  /** In another log, as one from a backup, the same position is another message's. */
  _rejectPositions() {
    for (const [id, call] of this._calls) {
      if (!call.positioned) continue;
      this._calls.delete(id);
      call.reject(new Lost());
    }
  }

  _take(frame) {
    this._listen();
    if (frame.id === undefined) return frame.op === "drain" ? this._drain(frame) : this._how.onPush(frame);
    const call = this._calls.get(frame.id);
    if (!call) return;
    if (frame.ok !== undefined) {
      this._calls.delete(frame.id);
      call.resolve(frame.ok);
      return;
    }
    const error = new Refused(frame.err);
    if (error.retry && !call.once) return this._again(frame.id, call, error.retryMs);
    this._calls.delete(frame.id);
    call.reject(error);
  }

  _again(id, call, retryMs) {
    setTimeout(() => {
      if (this._online && this._calls.has(id)) this._socket.send(call.frame);
    }, retryMs + Math.random() * RETRY_MS);
  }

  /** This node goes away: leave it when it says so, for one that it names. */
  _drain({ reconnect_after_ms: afterMs, prefer }) {
    const movable = this._how.movable ? prefer : [];
    this._moving = true;
    this._tell({ phase: "moving" });
    this._after("drain", afterMs, () => {
      this._rotate(movable);
      this._drop();
      this._failures = 0;
      this._connect();
    });
  }

  _end(code, reason) {
    if (this.state.phase === "ended") return;
    this._moving = false;
    const steady = this._online && Date.now() - this._openedAt > STEADY_MS;
    this._drop();
    if (this._isFinal(code)) return this._finish(code, reason);
    this._rotate([]);
    // A node that takes this client and soon drops it must not be asked again at once, over and over.
    this._failures = steady ? 0 : this._failures + 1;
    const round = Math.floor(this._failures / this._urls.length);
    const waitMs = Math.random() * Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** Math.min(round, 16));
    this._tell({ phase: "waiting", reason, failures: this._failures });
    this._after("reconnect", waitMs, () => this._connect());
  }

  /** A password is good for another hello, a token that has expired is not. */
  _isFinal(code) {
    if (code === CLOSE_EXPIRED) return this._how.credentials().password === undefined;
    return code >= 4500 && code < 5000;
  }

  _finish(code, reason) {
    this.stop();
    this._tell({ phase: "ended", code, reason });
  }

  _rotate(prefer) {
    const [used, ...others] = this._urls;
    const known = [...others, used, ...this._how.urls()];
    this._urls = [...new Set([...prefer, ...known])];
  }

  // --- life signs ---

  /** A page cannot see the node's pings; so it asks for one when nothing was heard for a while. */
  _listen() {
    clearTimeout(this._timers.pong);
    if (this._online) this._after("quiet", QUIET_MS, () => this._probe());
  }

  _probe() {
    this._socket.send(JSON.stringify({ id: ++this._lastId, op: "ping" }));
    this._after("pong", PONG_MS, () => this._end(CLOSE_LOST, "the node does not answer"));
  }

  // --- ends ---

  _drop() {
    this._forget();
    for (const [id, call] of this._calls) {
      if (call.repeat) continue;
      this._calls.delete(id);
      call.reject(new Lost());
    }
  }

  /** Let go of the socket; a dead one would take its time to say that it is closed. */
  _forget() {
    for (const timer of Object.values(this._timers)) clearTimeout(timer);
    this._online = false;
    if (!this._socket) return;
    this._socket.onopen = this._socket.onmessage = this._socket.onclose = null;
    this._socket.close();
    this._socket = null;
  }

  _rejectAll() {
    for (const call of this._calls.values()) call.reject(new Lost());
    this._calls.clear();
  }

  _after(name, ms, act) {
    clearTimeout(this._timers[name]);
    this._timers[name] = setTimeout(act, ms);
  }

  _tell(state) {
    this.state = { lastNode: this.state.lastNode, ...state };
    this._how.onState(this.state);
  }
}
