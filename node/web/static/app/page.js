// What people do with the page: where they go, what they type, which keys they press.

import { completed, complete, bytesOf, draftOf, keepDraft } from "./composer.js";
import { notify } from "./notify.js";
import { focusMessage } from "./scroll.js";
import { actionsOf } from "./views/message.js";
import { inOrder } from "./views/sidebar.js";

const THEME = "chat.theme";
const REGIONS = [".sidebar a[aria-current=page], .sidebar button", ".timeline", "#composer", ".panel"];

/** The room that the address names; somebody may have mistyped it. */
function roomInAddress() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return "";
  }
}

export class Page {
  /**
   * @param {import("./chat.js").Chat} chat
   * @param {import("./ui.js").Ui} ui
   * @param {import("./scroll.js").Scroller} scroller
   * @param {() => void} signOut
   */
  constructor(chat, ui, scroller, signOut) {
    Object.assign(this, { _chat: chat, _ui: ui, _scroller: scroller, signOut });
    this._drafts = new Map();
    this._bind("timelineKeys", "scrolled", "submit", "typed", "composerKeys", "composerLeft", "search", "keys", "hashChanged", "seen");
  }

  _bind(...names) {
    for (const name of names) this[name] = this[name].bind(this);
  }

  // --- where one is ---

  /** The address names the room, so that the browser's back button and a reload do what they should. */
  go(id) {
    if (roomInAddress() === id) this.hashChanged();
    else location.hash = id;
  }

  hashChanged() {
    const id = roomInAddress();
    const chat = this._chat;
    this._ui.show({ panel: id === chat.current ? this._ui.panel : null, reacting: null, completion: null });
    if (!chat.rooms.get(id)?.mine) {
      chat.current = null;
      chat.changed();
    } else if (id !== chat.current) {
      chat.open(id);
      this.focusComposer();
    }
  }

  leaveList(room) {
    if (room.id === this._chat.current) this.focusComposer();
  }

  focusComposer() {
    this._ui.focus("#composer");
  }

  async goTo(room, seq) {
    this._ui.show({ target: null, panel: matchMedia("(max-width: 60rem)").matches ? null : this._ui.panel });
    if (room !== this._chat.current) history.pushState(null, "", `#${room}`);
    await this._chat.openAt(room, seq).catch(() => {});
    this._ui.show({ target: seq });
  }

  toLatest() {
    this._ui.show({ target: null });
    return this._chat.past.latest(this._chat.room, { again: true });
  }

  async direct(user) {
    const room = await this._chat.direct(user);
    if (room) this.go(room);
    return room !== null;
  }

  async enter(id) {
    if (await this._chat.enter(id)) this.go(id);
  }

  /** The room that the address names, where this user is not in it: somebody may have given them the link. */
  get stranger() {
    const id = roomInAddress();
    return /^[a-z0-9][a-z0-9._-]{0,63}$/.test(id) && !this._chat.rooms.get(id)?.mine ? id : null;
  }

  async deleteRoom(room) {
    if (!confirm(`Delete ${room.name} and all that was said in it?`)) return;
    this._ui.closeDialog();
    await this._chat.act("delete_room", { room: room.id });
  }

  async discover(prefix = "") {
    this._ui.openDialog("discover", { prefix });
    const { rooms, more } = await this._chat.discover(prefix.trim().toLowerCase());
    if (this._ui.dialog?.prefix === prefix) this._ui.openDialog("discover", { prefix, rooms, more });
  }

  async discoverMore() {
    const { prefix, rooms } = this._ui.dialog;
    const page = await this._chat.discover(prefix, rooms.at(-1).room);
    this._ui.openDialog("discover", { prefix, rooms: [...rooms, ...page.rooms], more: page.more });
  }

  get theme() {
    return localStorage.getItem(THEME) ?? "system";
  }

  setTheme(theme) {
    localStorage.setItem(THEME, theme);
    document.documentElement.dataset.theme = theme;
  }

  // --- panels ---

  openPanel(kind, fields = {}) {
    const same = this._ui.panel?.kind === kind && kind !== "thread";
    this._ui.show({ panel: same ? null : { kind, ...fields } });
    if (kind === "search" && !same) this._ui.focus("#search");
    if (kind === "members") this._chat.loadMembers().catch(() => {});
  }

  closePanel() {
    this._ui.show({ panel: null });
    this.focusComposer();
  }

  async openThread(seq) {
    this.openPanel("thread", { seq });
    const messages = await this._chat.past.thread(this._chat.room, seq);
    if (this._ui.panel?.seq === seq) this._ui.show({ panel: { kind: "thread", seq, messages } });
  }

  /** A message came: if it is of the thread that is shown, it goes there as well. */
  heard(room, event) {
    notify(room, event, this._chat.me, () => this.go(room.id));
    const { panel } = this._ui;
    if (panel?.kind === "thread" && room.id === this._chat.current && event.thread === panel.seq) this.openThread(panel.seq);
  }

  async search(event) {
    event.preventDefault();
    const form = new FormData(event.target);
    const fields = { query: form.get("query").trim(), room: form.get("here") ? this._chat.current : undefined };
    if (fields.query) await this._search(fields, []);
  }

  searchMore() {
    const { fields, found, next } = this._ui.panel;
    return this._search({ ...fields, before: next }, found);
  }

  async _search(fields, before) {
    try {
      const { msgs, next } = await this._chat.past.search(fields);
      this._ui.show({ panel: { kind: "search", fields, found: [...before, ...msgs], next } });
    } catch (error) {
      if (error.code) this._ui.tell(error.message);
    }
  }

  // --- reading ---

  /** After each change of what is in sight: have more where it ends, and note what has been read. */
  scrolled() {
    const { room } = this._chat;
    if (!room) return;
    if (this._scroller.nearBeginning) this._chat.past.earlier(room).catch(() => {});
    else if (this._scroller.atEnd) this._chat.past.later(room).catch(() => {});
    this.seen();
  }

  /** What is on the screen of somebody who looks has been read. */
  seen() {
    const { room } = this._chat;
    if (room && document.visibilityState === "visible" && document.hasFocus() && this._scroller.atEnd) this._chat.seen(room);
  }

  // --- writing ---

  draft(room) {
    return room.editing ? room.editing.draft : this._kept(room.id);
  }

  _setDraft(room, text) {
    if (room.editing) room.editing.draft = text;
    else this._keep(room.id, text);
    this._chat.changed();
  }

  /** What is typed in a thread's panel. */
  threadDraft(room, seq) {
    return this._kept(`${room.id}#${seq}`);
  }

  setThreadDraft(room, seq, text) {
    this._keep(`${room.id}#${seq}`, text);
    this._chat.changed();
  }

  _kept(place) {
    if (!this._drafts.has(place)) this._drafts.set(place, draftOf(this._chat.me, place));
    return this._drafts.get(place);
  }

  _keep(place, text) {
    this._drafts.set(place, text);
    keepDraft(this._chat.me, place, text);
  }

  typed(event) {
    const { room, me } = this._chat;
    const { value, selectionStart } = event.target;
    this._setDraft(room, value);
    this._ui.show({ completion: complete(value, selectionStart, room, me) });
    if (value) this._chat.type(room);
  }

  composerLeft() {
    this._ui.show({ completion: null });
  }

  choose(event, index) {
    event.preventDefault();
    this._ui.completion.chosen = index;
    this._complete(document.querySelector("#composer"));
  }

  _complete(field) {
    const [text, cursor] = completed(field.value, field.selectionStart, this._ui.completion);
    this._setDraft(this._chat.room, text);
    field.value = text;
    field.setSelectionRange(cursor, cursor);
    this._ui.show({ completion: null });
  }

  reply(room, message) {
    Object.assign(room, { replyTo: message, editing: null });
    this._ui.show({ panel: this._ui.panel?.kind === "thread" ? null : this._ui.panel });
    this.focusComposer();
  }

  /** Offer emoji for a message, or do not any more. */
  offerEmoji(seq) {
    const shown = this._ui.reacting === seq;
    this._ui.show({ reacting: shown ? null : seq });
    if (!shown) this._ui.focus(".palette button");
  }

  edit(room, message) {
    Object.assign(room, { editing: { ...message, draft: message.body }, replyTo: null });
    this._chat.changed();
    this.focusComposer();
  }

  cancelAbout(room) {
    Object.assign(room, { editing: null, replyTo: null });
    this._chat.changed();
    this.focusComposer();
  }

  submit(event) {
    event?.preventDefault();
    const { room, limits } = this._chat;
    const text = this.draft(room);
    if (text.trim() === "" || bytesOf(text) > (limits.body_bytes ?? Infinity)) return;
    if (room.editing) return this._save(room, text);
    this._chat.send(room, text, room.replyTo?.seq);
    room.replyTo = null;
    this._setDraft(room, "");
    this._ui.show({ completion: null, target: null });
  }

  async _save(room, body) {
    const { editing } = room;
    if (body === editing.body || (await this._chat.act("edit", { room: room.id, seq: editing.seq, body }))) {
      if (room.editing === editing) room.editing = null;
      this._chat.changed();
    }
  }

  // --- keys ---

  composerKeys(event) {
    if (event.isComposing) return;
    if (this._ui.completion && this._completionKeys(event)) return event.preventDefault();
    const { room } = this._chat;
    const key = event.key;
    if (key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      this.submit();
    } else if (key === "ArrowUp" && event.target.value === "") {
      event.preventDefault();
      this._editLast(room);
    } else if (key === "Escape" && (room.editing || room.replyTo)) {
      event.stopPropagation();
      this.cancelAbout(room);
    }
  }

  _completionKeys({ key, target }) {
    const { completion } = this._ui;
    const count = completion.names.length;
    if (key === "ArrowDown") completion.chosen = (completion.chosen + 1) % count;
    else if (key === "ArrowUp") completion.chosen = (completion.chosen + count - 1) % count;
    else if (key === "Enter" || key === "Tab") return this._complete(target) ?? true;
    else if (key !== "Escape") return false;
    this._ui.show({ completion: key === "Escape" ? null : { ...completion } });
    return true;
  }

  _editLast(room) {
    if (this._chat.outbox.of(room.id).length > 0) return; // the last one has no number yet
    const own = room.timeline.messages.filter(({ op, from, deleted }) => op === "msg" && from === this._chat.me && !deleted);
    if (own.length > 0) this.edit(room, own.at(-1));
  }

  timelineKeys(event) {
    const item = event.target.closest("li.message");
    const list = event.currentTarget;
    const items = [...list.querySelectorAll("li.message[id]")];
    const at = items.indexOf(item);
    const to = { ArrowUp: at < 0 ? items.length - 1 : at - 1, ArrowDown: at + 1, Home: 0, End: items.length - 1 }[event.key];
    if (event.target !== item && event.target !== list) return;
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (to !== undefined) this._move(event, items[to]);
    else if (item) this._actOn(event, Number(item.dataset.seq));
  }

  _move(event, item) {
    event.preventDefault();
    if (item) focusMessage(item);
    else if (event.key === "ArrowDown") this.focusComposer();
  }

  _actOn(event, seq) {
    const { room } = this._chat;
    const message = room.timeline.get(seq);
    const context = { chat: this._chat, room, ui: this._ui, page: this };
    const action = message && actionsOf(message, context).find(([key]) => key === event.key.toLowerCase());
    if (!action) return;
    event.preventDefault();
    action[3]();
  }

  /** Keys that work everywhere. */
  keys(event) {
    const { key, ctrlKey, metaKey, altKey, shiftKey } = event;
    const control = ctrlKey || metaKey;
    const act =
      (control && !shiftKey && key.toLowerCase() === "k" && (() => this._ui.openDialog("switch"))) ||
      (control && shiftKey && key.toLowerCase() === "f" && (() => this.openPanel("search"))) ||
      (altKey && key === "ArrowUp" && (() => this._nextRoom(-1, shiftKey))) ||
      (altKey && key === "ArrowDown" && (() => this._nextRoom(1, shiftKey))) ||
      (key === "F6" && (() => this._nextRegion(shiftKey ? -1 : 1))) ||
      (key === "Escape" && !this._ui.dialog && (() => this._escape()));
    if (!act) return;
    event.preventDefault();
    act();
  }

  _nextRoom(step, onlyUnread) {
    const rooms = inOrder(this._chat).filter((room) => room.mine && (!onlyUnread || room.unread > 0 || room.id === this._chat.current));
    const at = rooms.findIndex(({ id }) => id === this._chat.current);
    const room = rooms[(at + step + rooms.length) % rooms.length];
    if (room) this.go(room.id);
  }

  _nextRegion(step) {
    const regions = REGIONS.map((selector) => document.querySelector(selector)).filter(Boolean);
    const at = regions.findIndex((region) => region.closest("nav, aside, main > *").contains(document.activeElement));
    regions[(at + step + regions.length) % regions.length]?.focus();
  }

  _escape() {
    if (this._ui.reacting !== null) this._ui.show({ reacting: null });
    else if (this._ui.panel) this.closePanel();
    else this.focusComposer();
  }
}
