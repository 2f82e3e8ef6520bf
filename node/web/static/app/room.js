// One room as this user has it: what the node lists of it, its messages, and who is in it.

import { Timeline } from "./timeline.js";

const TYPING_MS = 5_000;
const SAID_AT_MOST = 200;

export class Room {
  constructor(id) {
    this.id = id;
    this.title = "";
    this.head = 0;
    this.first = 1;
    /** Everything up to here has been read. */
    this.read = 0;
    this.role = null;
    this.private = false;
    this.dm = false;
    /** Position up to which events have arrived; null while the connection does not receive the room. */
    this.since = null;
    this.timeline = new Timeline();
    this.loading = false;
    /** Where the reader was when the room was opened; what is beyond is marked as new. */
    this.newFrom = null;
    /** Messages of others beyond `read`, and those of them that name this user. */
    this.unread = 0;
    this.mentioned = 0;
    /** Events came that were not told one by one, so these two do not hold. */
    this.uncounted = false;
    this.members = new Map();
    /** Who is online is told apart from who belongs to the room, and may be told before. */
    this.online = new Set();
    this.typing = new Map();
    this.replyTo = null;
    this.editing = null;
  }

  get mine() {
    return this.role !== null && this.role !== "invited";
  }

  get name() {
    return this.title || this.id;
  }

  /** What `rooms` lists. */
  list(row) {
    this.title = row.dm ? this.title : row.title;
    this.head = Math.max(this.head, row.head);
    this.private = row.private ?? false;
    this.dm = row.dm ?? false;
    this.role = row.role ?? null;
    this.size = row.members;
    if (row.unread !== undefined) this.read = Math.max(this.read, row.head - row.unread);
  }

  /** What `members` lists; a direct room is named after the other. */
  listMembers(rows, me) {
    this.members = new Map(rows.map((row) => [row.user, row]));
    this.online = new Set(rows.filter((row) => row.online).map((row) => row.user));
    if (this.dm) this.title = rows.find((row) => row.user !== me)?.user ?? this.title;
  }

  /** Take an event; returns false when one before it is missing. */
  take(event, me) {
    if (this.since !== null && event.seq > this.since + 1) return false;
    if (event.seq <= (this.since ?? -1)) return true;
    this.since = event.seq;
    this.head = Math.max(this.head, event.seq);
    this.timeline.apply(event);
    if (event.op === "msg") this._message(event, me);
    if (event.op === "member") this._member(event, me);
    if (event.op === "room") Object.assign(this, { title: event.title, private: event.private });
    return true;
  }

  _message(event, me) {
    this.typing.delete(event.from);
    if (event.from === me) return;
    this.unread += 1;
    if (event.mentions?.includes(me)) this.mentioned += 1;
  }

  /** Count what is unread in the last messages; the node's own count has all events in it, not only messages. */
  count(messages, me) {
    this.uncounted = false;
    const fresh = messages.filter(({ seq, from, deleted }) => seq > this.read && from !== me && !deleted);
    this.unread = fresh.length;
    this.mentioned = fresh.filter(({ mentions }) => mentions?.includes(me)).length;
  }

  _member({ user, change, role, until }, me) {
    const known = this.members.get(user);
    if (change === "join") this.members.set(user, { role: "member", ...known, user });
    else if (["leave", "kick", "ban"].includes(change)) this.members.delete(user);
    else if (change === "role") this.members.set(user, { ...known, user, role });
    else if (known) this.members.set(user, { ...known, muted_until: change === "mute" ? until : undefined });
    if (user === me && change === "role") this.role = role;
  }

  setOnline(user, online) {
    if (online) this.online.add(user);
    else this.online.delete(user);
  }

  /** Somebody types; `done` is called when that is over. */
  setTyping(user, done) {
    clearTimeout(this.typing.get(user));
    const over = setTimeout(() => {
      this.typing.delete(user);
      done();
    }, TYPING_MS);
    this.typing.set(user, over);
  }

  /** Everything so far has been read; returns whether that is news. */
  markRead() {
    return this.readUpTo(this.head);
  }

  readUpTo(seq) {
    if (this.read >= seq) return false;
    this.read = seq;
    if (seq >= this.head) this.unread = this.mentioned = 0;
    return true;
  }

  /** What is known of the past does not hold any more. */
  forget() {
    this.timeline = new Timeline();
  }

  /** The log is another one, restored from a backup say: no position holds any more. */
  beginAnew() {
    clearTimeout(this.readTimer);
    this.forget();
    Object.assign(this, { head: 0, read: 0, newFrom: null });
  }

  /** May this user do what takes the rank of `role`? */
  may(role, roles) {
    const ranks = { member: 1, moderator: 2, owner: 3 };
    return roles.includes("admin") || (ranks[this.role] ?? 0) >= ranks[role];
  }

  excerpt(seq) {
    const message = this.timeline.get(seq);
    return message && { from: message.from, body: message.deleted ? "(deleted)" : message.body?.slice(0, SAID_AT_MOST) };
  }
}
