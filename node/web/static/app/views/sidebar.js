// The rooms of this user: invitations, rooms, direct messages, each with what is unread.

import { html, nothing } from "../../vendor/lit-html/lit-html.js";
import { repeat } from "../../vendor/lit-html/directives/repeat.js";
import { plural } from "../words.js";
import { statusView } from "./status.js";

const byName = (one, other) => one.name.localeCompare(other.name);

/** All rooms in the order in which they are shown. */
export function inOrder(chat) {
  const rooms = [...chat.rooms.values()].sort(byName);
  return [...rooms.filter((room) => !room.dm), ...rooms.filter((room) => room.dm)];
}

export function sidebarView(chat, ui, page) {
  const rooms = inOrder(chat);
  return html`<nav class="sidebar" aria-label="Rooms">
    <header>
      <p class="title" aria-hidden="true">Chat</p>
      <button class="icon" @click=${() => ui.openDialog("switch")} title="Go to a room (Ctrl+K)" aria-label="Go to a room">
        <span aria-hidden="true">⌕</span>
      </button>
      <button class="icon" @click=${() => ui.openDialog("menu")} title="Menu" aria-label="Menu">
        <span aria-hidden="true">☰</span>
      </button>
    </header>
    <div class="lists">
      ${sectionView("Invitations", rooms.filter((room) => room.role === "invited"), chat, page)}
      ${sectionView("Not sent", chat.unsentElsewhere.map((id) => ({ id })), chat, page, unsentView)}
      ${sectionView("Rooms", rooms.filter((room) => room.mine && !room.dm), chat, page)}
      ${chat.listed && ![...chat.rooms.values()].some((room) => room.mine && !room.dm)
        ? html`<p class="hint">You are in no room yet.</p>`
        : nothing}
      <p class="actions">
        <button @click=${() => page.discover()}>Find a room</button>
        <button @click=${() => ui.openDialog("create")}>New room</button>
      </p>
      ${sectionView("Direct messages", rooms.filter((room) => room.mine && room.dm), chat, page)}
      <p class="actions"><button @click=${() => ui.openDialog("direct")}>New message</button></p>
    </div>
    <footer>
      <p class="me">Signed in as <strong>${chat.me ?? "…"}</strong></p>
      ${statusView(chat)}
    </footer>
  </nav>`;
}

function sectionView(title, rooms, chat, page, view = entryView) {
  if (rooms.length === 0) return nothing;
  const id = `list-${title.split(" ")[0].toLowerCase()}`;
  return html`<section aria-labelledby=${id}>
    <h2 id=${id}>${title}</h2>
    <ul>
      ${repeat(rooms, ({ id: key }) => key, (room) => html`<li>${view(room, chat, page)}</li>`)}
    </ul>
  </section>`;
}

function entryView(room, chat, page) {
  if (room.role === "invited") return html`<button @click=${() => page.enter(room.id)}>Join ${room.name}</button>`;
  const current = room.id === chat.current;
  const typing = room.typing.size > 0 && !current;
  return html`<a href="#${room.id}" class=${room.unread > 0 ? "unread" : ""} aria-current=${current ? "page" : "false"}
    @click=${() => page.leaveList(room)}>
    ${room.dm ? dotView(room) : html`<span class="sign" aria-hidden="true">${room.private ? "🔒" : "#"}</span>`}
    <span class="name">${room.name}</span>
    ${typing ? html`<span class="typing" aria-hidden="true">…</span>` : nothing} ${badgeView(room)}
  </a>`;
}

/** A room that is lost to this user, in which something was still to be said. */
function unsentView({ id }) {
  return html`<a href="#${id}"><span class="name">${id}</span></a>`;
}

function dotView(room) {
  const online = room.online.has(room.title);
  return html`<span class="dot ${online ? "online" : ""}" role="img" aria-label=${online ? "online" : "away"}></span>`;
}

function badgeView(room) {
  if (room.unread === 0) return nothing;
  const shown = room.unread > 99 ? "99+" : room.unread;
  const named = room.mentioned > 0;
  return html`<span class="badge ${named ? "named" : ""}"
    ><span aria-hidden="true">${named ? "@ " : ""}${shown}</span
    ><span class="hidden">${plural(room.unread, "new message")}${named ? ", you are mentioned" : ""}</span></span
  >`;
}
