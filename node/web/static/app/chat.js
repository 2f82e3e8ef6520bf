// The chat as this user has it: who they are, their rooms, and what they do in them. Views show `Chat` and call it; it asks
// the node through the link, and calls `changed` whenever there is something new to show.

import { Link } from "./link.js";
import { Outbox } from "./outbox.js";
import { Past } from "./past.js";
import { Room } from "./room.js";

const PAGE = 50;
const COUNTED = 100;
const KEPT = 300;
const REFRESH_MS = 60_000;
const NOT_IN = ["forbidden", "no_room"];
const LIST_PAGE = 200;
const TYPING_EVERY_MS = 3_000;
const READ_AFTER_MS = 400;

export class Chat {
  /**
   * @param {object} how
   * @param {{urls: () => string[], movable: boolean}} how.nodes
   * @param {object} how.credentials as in hello
   * @param {() => void} how.changed
   * @param {(text: string) => void} how.say said to who cannot see the page
   * @param {(reason: {code: number, reason: string}) => void} how.onEnd
   */
  constructor(how) {
    this._how = how;
    this.rooms = new Map();
    this.notices = [];
    this.current = null;
    this.me = null;
    this.roles = [];
    this.epoch = null;
    this.limits = {};
    this.outbox = null;
    this.listed = false;
    /** Whether rooms are still being brought up to date after a reconnect. */
    this.resuming = false;
    this.link = new Link({
      ...how.nodes,
      credentials: () => how.credentials,
      onWelcome: (welcome) => this._welcome(welcome),
      onPush: (push) => this._take(push),
      onState: (state) => this._state(state),
    });
    this.past = new Past(this.link, () => this.changed());
    this.connection = this.link.state;
  }

  start() {
    this._refreshing = setInterval(() => this._check(), REFRESH_MS);
    this.link.start();
  }

  stop() {
    clearInterval(this._refreshing);
    this.link.stop();
  }

  /** Somebody looks at the page again. */
  wake() {
    this.link.wake();
    this._check();
  }

  /** Who is thrown out of a room is not told; so it is looked after, now and then and when a room refuses something. */
  _check() {
    if (this.connection.phase === "online") this.refresh().catch(() => {});
  }

  get room() {
    return this.rooms.get(this.current) ?? null;
  }

  /** Ids of rooms that this user is not in any more, and in which something was still to be said. */
  get unsentElsewhere() {
    const ids = new Set(this.listed ? this.outbox.all.map(({ room }) => room) : []);
    return [...ids].filter((id) => !this.rooms.get(id)?.mine);
  }

  get unread() {
    return [...this.rooms.values()].reduce((sum, room) => sum + room.unread, 0);
  }

  changed() {
    this._how.changed();
  }

  // --- the connection ---

  _state(state) {
    this.connection = state;
    if (state.phase === "ended" && state.code >= 4000) this._how.onEnd(state);
    this.changed();
  }

  _welcome(welcome) {
    const moved = this.epoch !== null && this.epoch !== welcome.epoch;
    Object.assign(this, { me: welcome.user, epoch: welcome.epoch, limits: welcome.limits });
    if (moved) for (const room of this.rooms.values()) room.beginAnew();
    const received = [...this.rooms.values()].filter((room) => room.since !== null);
    this.notices = [];
    this.resuming = true;
    this._settle(received.map((room) => this._resume(room, moved)));
  }

  async _settle(resumed) {
    this.outbox ??= this._makeOutbox();
    this.outbox.flush();
    this.link.ask("whoami").then(({ roles }) => this._update({ roles }), () => {});
    await Promise.allSettled([this.refresh(), ...resumed]);
    for (const room of this.rooms.values()) if (room.uncounted) this._count(room, room.head - room.read).catch(() => {});
    this._update({ resuming: false });
    this._how.onReady();
  }

  _makeOutbox() {
    return new Outbox({
      storage: localStorage,
      user: this.me,
      send: ({ room, cid, body, replyTo }) => this._ask("send", { room, cid, body, reply_to: replyTo }),
      onChange: () => this.changed(),
    });
  }

  _update(fields) {
    Object.assign(this, fields);
    this.changed();
  }

  // --- rooms ---

  /** Look which rooms this user has, and receive those that are not received yet. */
  async refresh() {
    const rows = await this._pages("rooms", { mine: true }, "room");
    for (const row of rows) this._row(row);
    const ids = new Set(rows.map((row) => row.room));
    for (const room of [...this.rooms.values()]) if (!ids.has(room.id)) this._gone(room, `You are not in ${room.name} any more`);
    this._update({ listed: true });
  }

  async _pages(op, fields, key) {
    const rows = [];
    for (let after; ; ) {
      const page = await this.link.ask(op, { ...fields, limit: LIST_PAGE, after });
      rows.push(...page[op]);
      if (!page.more) return rows;
      after = rows.at(-1)[key];
    }
  }

  _row(row) {
    const room = this._have(row.room);
    room.list(row);
    if (!room.mine || room.since !== null) return;
    this._receive(room);
    if (row.unread > 0) this._count(room, row.unread).catch(() => {});
  }

  async _count(room, events) {
    const limit = Math.min(events, COUNTED);
    const { msgs } = limit > 0 ? await this.link.ask("history", { room: room.id, limit }) : { msgs: [] };
    room.count(msgs, this.me);
    this.changed();
  }

  _have(id) {
    if (!this.rooms.has(id)) this.rooms.set(id, new Room(id));
    return this.rooms.get(id);
  }

  _remove(id) {
    this.rooms.delete(id);
    if (this.current === id) this.current = null;
    this.changed();
  }

  async _receive(room) {
    room.since = room.head;
    try {
      const { head, first } = await this.link.ask("join", { room: room.id, limit: 0 });
      Object.assign(room, { head: Math.max(head, room.head), first, since: Math.max(head, room.since) });
      if (room.dm || room.id === this.current) await this.loadMembers(room);
      if (room.id === this.current) await this.past.latest(room);
    } catch {
      room.since = null; // over the limit of rooms, or just thrown out: it is listed, and can be opened again
    }
    this.changed();
  }

  async _resume(room, moved) {
    if (room.resuming) return;
    room.resuming = true;
    await this._rejoin(room, moved);
    room.resuming = false;
  }

  async _rejoin(room, moved) {
    const since = moved ? undefined : { epoch: this.epoch, seq: room.since };
    try {
      const { recovered, head, first } = await this.link.ask("join", { room: room.id, since, limit: 0 }, { resumed: true });
      if (recovered !== true) {
        room.forget();
        Object.assign(room, { head, first, since: head, uncounted: true });
        if (room.id === this.current) await this.past.latest(room);
      }
      if (room.id === this.current) await this.loadMembers(room);
    } catch (error) {
      if (NOT_IN.includes(error.code)) this._check();
    }
  }

  /** Show a room. */
  async open(id) {
    const room = this._have(id);
    this.room?.timeline.trim(KEPT);
    this.current = id;
    room.newFrom = room.unread > 0 ? room.read : null;
    this.changed();
    if (!this.me || !room.mine) return;
    if (room.since === null) return this._receive(room);
    await Promise.all([this.past.latest(room), this.loadMembers(room)]).catch(() => {});
  }

  /** Show a message of whatever time. */
  async openAt(id, seq) {
    await this.open(id);
    const room = this.room;
    if (!room.timeline.get(seq)) await this.past.around(room, seq);
  }

  async loadMembers(room = this.room) {
    room.listMembers(await this._pages("members", { room: room.id }, "user"), this.me);
    this.changed();
  }

  // --- what the node says by itself ---

  _take(push) {
    const act = {
      invite: () => this._invited(push),
      read: () => this._read(push),
      presence: () => this.rooms.get(push.room)?.setOnline(push.user, push.online),
      typing: () => this.rooms.get(push.room)?.setTyping(push.user, () => this.changed()),
      notice: () => this._notice(push),
    }[push.op];
    if (act) act();
    else if (push.seq !== undefined) this._event(push);
    this.changed();
  }

  _event(event) {
    const room = this.rooms.get(event.room);
    if (!room) return;
    if (!room.take(event, this.me)) return this._resume(room, false);
    if (event.op === "room" && event.change === "deleted") return this._gone(room, `${room.name} was deleted`);
    if (event.op !== "msg") return;
    if (event.from === this.me) this._echoed(event);
    else this._announce(room, event);
    this._how.onMessage(room, event);
  }

  /** The event of one's own message may come before its acknowledgement; then it is there already. */
  _echoed(event) {
    const entry = this.outbox?.all.find(({ cid }) => cid === event.cid);
    if (entry) entry.echoed = true;
  }

  _announce(room, event) {
    if (room.id === this.current || event.mentions?.includes(this.me) || room.dm) {
      this._how.say(`${event.from} in ${room.name}: ${event.body.slice(0, 200)}`);
    }
  }

  _gone(room, why) {
    this._remove(room.id);
    this._how.onProblem(why);
  }

  async _invited({ room, by }) {
    await this.refresh().catch(() => {});
    if (this.rooms.has(room)) this._how.onInvited(this.rooms.get(room), by);
  }

  _read({ room: id, seq }) {
    const room = this.rooms.get(id);
    if (!room) return;
    room.readUpTo(seq);
  }

  _notice({ level, text, until }) {
    const others = this.notices.filter((notice) => notice.text !== text);
    const leftMs = until - Date.now();
    this.notices = leftMs > 0 ? [...others, { level, text, until }] : others;
    if (leftMs > 0 && leftMs < 2 ** 31) setTimeout(() => this._notice({ text, until: 0 }), leftMs);
    if (leftMs > 0) this._how.say(`Notice: ${text}`);
    this.changed();
  }

  // --- what this user does ---

  send(room, body, replyTo) {
    room.typedAt = 0;
    this.outbox.add({ room: room.id, body, replyTo });
  }

  /** The reader has seen the end of a room. Told to the node a little later, once for many messages. */
  seen(room) {
    if (!room.mine || !room.timeline.live || !room.markRead()) return;
    clearTimeout(room.readTimer);
    room.readTimer = setTimeout(() => this._do("read", { room: room.id, seq: room.read }), READ_AFTER_MS);
    this.changed();
  }

  type(room) {
    const now = Date.now();
    if (now - (room.typedAt ?? 0) < TYPING_EVERY_MS) return;
    room.typedAt = now;
    this._ask("typing", { room: room.id }, { once: true }).catch(() => {});
  }

  /** Ask for a change; a refusal is shown. Returns whether it came about. */
  async act(op, fields) {
    return (await this._try(op, fields)) !== null;
  }

  async _try(op, fields) {
    try {
      return await this._ask(op, fields);
    } catch (error) {
      if (error.code) this._how.onProblem(error.message);
      return null;
    }
  }

  async _ask(op, fields, how) {
    try {
      return await this.link.ask(op, fields, how);
    } catch (error) {
      if (NOT_IN.includes(error.code) && this.rooms.has(fields.room)) this._check();
      throw error;
    }
  }

  _do(op, fields) {
    this._ask(op, fields).catch(() => {});
  }

  react(room, message, emoji) {
    const on = !message.reactions?.[emoji]?.includes(this.me);
    return this.act("react", { room: room.id, seq: message.seq, emoji, on });
  }

  /** Come into a room that this user is not in yet. */
  async enter(id) {
    const entered = await this.act("join", { room: id, limit: 0 });
    if (entered) await this.refresh();
    return entered;
  }

  async create(fields) {
    const created = await this.act("create_room", fields);
    if (created) await this.refresh();
    return created;
  }

  /** The room of this user and another, or null. */
  async direct(user) {
    const answer = await this._try("dm", { user });
    if (answer) await this.refresh();
    return answer?.room ?? null;
  }

  async leave(room) {
    if (await this.act("leave", { room: room.id })) this._remove(room.id);
  }

  discover(prefix, after) {
    return this.link.ask("rooms", { prefix, after, limit: PAGE });
  }
}
