// What was typed and is not acknowledged yet. Each message is kept in the browser's storage under its `cid` until it is,
// so neither a lost connection nor a closed page loses it; the node recognises a `cid` that it has already.

const PREFIX = "chat.unsent.";

export class Outbox {
  /**
   * @param {Storage} storage
   * @param {string} user whose messages; another user of the same browser has others
   * @param {(message: object) => Promise<object>} send resolves with the acknowledgement, rejects with why not
   * @param {() => void} onChange
   */
  constructor({ storage, user, send, onChange }) {
    Object.assign(this, { _storage: storage, _prefix: `${PREFIX}${user}.`, _send: send, _onChange: onChange });
    this._entries = new Map();
    this._sending = new Set();
    this._load();
  }

  /** The messages of a room that wait, in the order in which they were typed; `failed` says why one was refused. */
  of(room) {
    return this.all.filter((entry) => entry.room === room);
  }

  get all() {
    return [...this._entries.values()].sort((one, other) => one.at - other.at || one.no - other.no);
  }

  add({ room, body, replyTo }) {
    const entry = { cid: crypto.getRandomValues(new Uint32Array(4)).join("-"), room, body, at: Date.now(), no: this._entries.size };
    if (replyTo !== undefined) entry.replyTo = replyTo;
    this._keep(entry);
    this.flush();
    return entry;
  }

  /** Send what waits: in each room one after the other, so that their order stays. */
  flush() {
    for (const room of new Set(this.all.map((entry) => entry.room))) this._next(room);
  }

  again(cid) {
    const entry = this._entries.get(cid);
    if (!entry) return;
    delete entry.failed;
    this._keep(entry);
    this.flush();
  }

  discard(cid) {
    this._drop(cid);
    this._onChange();
    this.flush();
  }

  /** Another page of the same user sent one, or typed one. */
  storageChanged({ key, newValue }) {
    if (!key?.startsWith(this._prefix)) return;
    const cid = key.slice(this._prefix.length);
    if (newValue === null) this._entries.delete(cid);
    else this._take(newValue);
    this._onChange();
  }

  async _next(room) {
    if (this._sending.has(room)) return;
    const entry = this.of(room).find(({ failed }) => !failed);
    if (!entry) return;
    this._sending.add(room);
    const error = await this._send(entry).then(() => null, (refusal) => refusal);
    this._sending.delete(room);
    if (!error) this._drop(entry.cid);
    else if (error.code) this._keep({ ...entry, failed: error.message });
    else return; // signed out: what is kept is sent by the next page
    this._onChange();
    this._next(room);
  }

  _keep(entry) {
    this._entries.set(entry.cid, entry);
    try {
      this._storage.setItem(this._prefix + entry.cid, JSON.stringify(entry));
    } catch {
      entry.unkept = true; // storage is full or forbidden: it lives as long as the page
    }
    this._onChange();
  }

  _drop(cid) {
    this._entries.delete(cid);
    this._storage.removeItem(this._prefix + cid);
  }

  _load() {
    const keys = Object.keys(this._storage).filter((key) => key.startsWith(this._prefix));
    for (const key of keys) this._take(this._storage.getItem(key));
  }

  /** What an older page, or somebody's hand, left in another form is no message. */
  _take(text) {
    try {
      const entry = JSON.parse(text);
      if (typeof entry.room === "string" && typeof entry.body === "string") this._entries.set(entry.cid, entry);
    } catch {
      // left where it is
    }
  }
}
