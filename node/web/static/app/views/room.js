// One room: its head, its messages, and where one writes.

import { html, nothing } from "../../vendor/lit-html/lit-html.js";
import { guard } from "../../vendor/lit-html/directives/guard.js";
import { live } from "../../vendor/lit-html/directives/live.js";
import { repeat } from "../../vendor/lit-html/directives/repeat.js";
import { bytesOf } from "../composer.js";
import { dayOf, listed, plural } from "../words.js";
import { messageView, unsentView } from "./message.js";

const FOLLOWS_MS = 5 * 60_000;
const MAX_ROWS = 10;

export function roomView(chat, ui, page) {
  const { room } = chat;
  if (!room) return noRoomView(chat, page);
  return html`<main class="room" aria-label=${room.name}>
    ${headView(room, ui, page)} ${timelineView(chat, room, ui, page)} ${composerView(chat, room, ui, page)}
  </main>`;
}

function noRoomView(chat, page) {
  const { stranger } = page;
  if (chat.listed && stranger) return strangerView(stranger, chat, page);
  const words = chat.listed ? "Choose a room, or find one." : "One moment…";
  return html`<main class="room empty">
    <p>${words}</p>
    ${chat.listed ? html`<p><button class="primary" @click=${() => page.discover()}>Find a room</button></p>` : nothing}
  </main>`;
}

function strangerView(id, chat, page) {
  const unsent = chat.outbox.of(id);
  return html`<main class="room empty">
    <p>You are not in the room <strong>${id}</strong>.</p>
    <p><button class="primary" @click=${() => page.enter(id)}>Join ${id}</button> <a href="#">All rooms</a></p>
    ${unsent.length > 0
      ? html`<ol>${repeat(unsent, ({ cid }) => cid, (entry) => unsentView(entry, { chat, connected: chat.connection.phase === "online" }))}</ol>`
      : nothing}
  </main>`;
}

function headView(room, ui, page) {
  const members = room.members.size || room.size;
  const online = [...room.members.keys()].filter((user) => room.online.has(user)).length;
  const words = `${plural(members, "member")}${online > 0 ? ` · ${online} online` : ""}`;
  return html`<header class="roomhead">
    <a class="icon back" href="#" title="Rooms" aria-label="Back to the rooms"><span aria-hidden="true">←</span></a>
    <h2>${room.dm ? "" : html`<span class="sign" aria-hidden="true">${room.private ? "🔒" : "#"}</span>`}${room.name}</h2>
    <button @click=${() => page.openPanel("members")} aria-expanded=${ui.panel?.kind === "members"} aria-label=${words}>
      <span class="wide">${words}</span><span class="narrow">${members}</span>
    </button>
    <button class="icon" @click=${() => page.openPanel("search")} title="Search (Ctrl+Shift+F)" aria-label="Search">
      <span aria-hidden="true">⌕</span>
    </button>
    <button class="icon" @click=${() => ui.openDialog("settings", { room })} title="Room settings" aria-label="Room settings">
      <span aria-hidden="true">⚙</span>
    </button>
  </header>`;
}

function timelineView(chat, room, ui, page) {
  const { timeline } = room;
  const rows = rowsOf(timeline.messages, room.newFrom, chat.me);
  const unsent = (chat.outbox?.of(room.id) ?? []).filter(({ echoed, cid }) => !echoed && !timeline.messages.some((message) => message.cid === cid && message.from === chat.me));
  const connected = chat.connection.phase === "online";
  return html`<div class="timeline" role="log" aria-live="off" aria-label="Messages in ${room.name}" tabindex="0"
    @keydown=${page.timelineKeys} @scroll=${page.scrolled}>
    <p class="hint">${room.loading ? "Loading…" : timeline.complete ? "This is the beginning." : ""}</p>
    <ol>
      ${repeat(rows, ({ key }) => key, (row) => rowView(row, { chat, ui, page, room }))}
      ${repeat(unsent, ({ cid }) => cid, (entry) => unsentView(entry, { chat, connected }))}
    </ol>
    ${timeline.live || room.loading
      ? nothing
      : html`<p class="latest"><button class="primary" @click=${() => page.toLatest()}>To the latest messages</button></p>`}
  </div>`;
}

/** Messages with what stands between them: days, and where the new ones begin. */
export function rowsOf(messages, newFrom, me) {
  const rows = [];
  let previous = null;
  let marked = newFrom === null;
  for (const message of messages) {
    if (!previous || dayOf(previous.ts) !== dayOf(message.ts)) rows.push({ key: `day-${message.seq}`, day: message.ts });
    if (!marked && message.seq > newFrom && message.op === "msg" && message.from !== me) {
      rows.push({ key: "new", isNew: true });
      marked = true;
      previous = null;
    }
    rows.push({ key: message.seq, message, follows: follows(message, previous) });
    previous = message;
  }
  return rows;
}

function follows(message, previous) {
  if (!previous || previous.op !== "msg" || message.op !== "msg" || message.reply_to !== undefined) return false;
  return previous.from === message.from && !previous.deleted && message.ts - previous.ts < FOLLOWS_MS;
}

function rowView({ day, isNew, message, follows: isNext }, { chat, ui, page, room }) {
  if (day) return html`<li class="day"><span>${dayOf(day)}</span></li>`;
  if (isNew) return html`<li class="new"><span>New</span></li>`;
  const target = ui.target === message.seq;
  const quoted = message.reply_to === undefined ? null : room.timeline.get(message.reply_to);
  const context = { chat, ui, page, room, follows: isNext, target };
  const seen = [message, isNext, target, ui.reacting === message.seq, quoted, room.role, chat.roles];
  return guard(seen, () => messageView(message, context));
}

// --- the composer ---

function composerView(chat, room, ui, page) {
  const muted = room.members.get(chat.me)?.muted_until > Date.now();
  const text = page.draft(room);
  const label = room.editing ? "Edit the message" : `Message to ${room.name}`;
  return html`<form class="composer" @submit=${page.submit} aria-label="Write">
    <p class="typing" aria-live="off">${typingInWords([...room.typing.keys()])}</p>
    ${aboutView(room, page)} ${completionView(ui, page)}
    <div class="write">
      <textarea id="composer" name="body" rows=${rowsFor(text)} aria-label=${label} placeholder=${label} ?disabled=${muted}
        aria-autocomplete="list" aria-controls=${ui.completion ? "completion" : nothing}
        aria-activedescendant=${ui.completion ? `completion-${ui.completion.chosen}` : nothing}
        .value=${live(text)} @input=${page.typed} @keydown=${page.composerKeys} @blur=${page.composerLeft}></textarea>
      <button class="primary" type="submit" ?disabled=${muted}>${room.editing ? "Save" : "Send"}</button>
    </div>
    ${limitView(text, chat.limits.body_bytes, muted)}
  </form>`;
}

function aboutView(room, page) {
  const about = room.editing ?? room.replyTo;
  if (!about) return nothing;
  const words = room.editing ? "Editing" : `Reply to ${about.from}`;
  return html`<p class="about">
    <strong>${words}:</strong> <span>${about.body.slice(0, 120)}</span>
    <button type="button" class="icon" aria-label="Cancel" title="Cancel (Esc)" @click=${() => page.cancelAbout(room)}>
      <span aria-hidden="true">✕</span>
    </button>
  </p>`;
}

function completionView({ completion }, page) {
  if (!completion) return nothing;
  return html`<ul id="completion" role="listbox" aria-label="Names">
    ${completion.names.map(
      (name, index) => html`<li id="completion-${index}" role="option" aria-selected=${index === completion.chosen}
        @mousedown=${(event) => page.choose(event, index)}>@${name}</li>`,
    )}
  </ul>`;
}

function limitView(text, bodyBytes, muted) {
  if (muted) return html`<p class="hint" role="status">You are muted in this room.</p>`;
  if (!bodyBytes || text.length * 3 < bodyBytes) return nothing;
  const over = bytesOf(text) - bodyBytes;
  return over > 0 ? html`<p class="problem" role="alert">Too long by ${plural(over, "byte")}.</p>` : nothing;
}

const rowsFor = (text) => Math.min(MAX_ROWS, text.split("\n").length);

function typingInWords(users) {
  if (users.length === 0) return "";
  if (users.length > 3) return "Several people are typing…";
  return `${listed(users)} ${users.length > 1 ? "are" : "is"} typing…`;
}
