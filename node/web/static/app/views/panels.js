// What stands beside the messages: the people of a room, a thread, a search.

import { html, nothing } from "../../vendor/lit-html/lit-html.js";
import { live } from "../../vendor/lit-html/directives/live.js";
import { repeat } from "../../vendor/lit-html/directives/repeat.js";
import { momentOf, timeOf } from "../words.js";
import { avatarView, messageView } from "./message.js";

const TITLES = { members: "People", thread: "Thread", search: "Search" };
const VIEWS = { members: membersView, thread: threadView, search: searchView };

export function panelView(chat, ui, page) {
  const { panel } = ui;
  if (!panel || !chat.room) return nothing;
  return html`<aside class="panel" aria-labelledby="panel-title" tabindex="-1">
    <header>
      <h2 id="panel-title">${TITLES[panel.kind]}</h2>
      <button class="icon" aria-label="Close" title="Close (Esc)" @click=${() => page.closePanel()}><span aria-hidden="true">✕</span></button>
    </header>
    ${VIEWS[panel.kind](chat, ui, page)}
  </aside>`;
}

// --- people ---

function membersView(chat, ui, page) {
  const { room } = chat;
  const away = ({ user }) => Number(!room.online.has(user));
  const members = [...room.members.values()].sort((one, other) => away(one) - away(other) || one.user.localeCompare(other.user));
  return html`<ul class="people">
      ${repeat(members, ({ user }) => user, (member) => memberView(member, room, chat, ui, page))}
    </ul>
    ${room.dm ? nothing : inviteView(room, chat)}`;
}

function memberView(member, room, chat, ui, page) {
  const muted = member.muted_until > Date.now();
  const self = member.user === chat.me;
  return html`<li>
    ${avatarView(member.user)}
    <span class="name">
      <strong>${member.user}</strong>${self ? " (you)" : ""}
      <span class="facts">
        ${room.online.has(member.user) ? "online" : "away"}${member.role === "member" ? "" : `, ${member.role}`}
        ${muted ? html`, <span title=${momentOf(member.muted_until)}>muted until ${timeOf(member.muted_until)}</span>` : nothing}
      </span>
    </span>
    ${self || room.dm
      ? nothing
      : html`<button aria-label="More about ${member.user}" class="icon" @click=${() => ui.openDialog("member", { room, user: member.user })}>
          <span aria-hidden="true">⋯</span>
        </button>`}
  </li>`;
}

function inviteView(room, chat) {
  const submit = async (event) => {
    event.preventDefault();
    const form = event.target;
    if (await chat.act("invite", { room: room.id, user: new FormData(form).get("user").trim() })) form.reset();
  };
  return html`<form class="line" @submit=${submit}>
    <label for="invite">Invite</label>
    <input id="invite" name="user" required maxlength="64" placeholder="name" spellcheck="false" autocapitalize="none" autocomplete="off" />
    <button type="submit">Invite</button>
  </form>`;
}

// --- a thread ---

function threadView(chat, ui, page) {
  const { panel } = ui;
  const { room } = chat;
  const messages = (panel.messages ?? []).map((message) => room.timeline.get(message.seq) ?? message);
  const context = { chat, ui, page, room, inThread: true };
  const submit = (event) => {
    event.preventDefault();
    const body = page.threadDraft(room, panel.seq).trim();
    if (body) chat.send(room, body, panel.seq);
    page.setThreadDraft(room, panel.seq, "");
  };
  return html`<ol class="messages" @keydown=${page.timelineKeys}>
      ${repeat(messages, ({ seq }) => seq, (message) => messageView(message, context))}
    </ol>
    <form class="line" @submit=${submit}>
      <input name="body" aria-label="Reply in the thread" placeholder="Reply in the thread" maxlength="16384" autocomplete="off" required
        .value=${live(page.threadDraft(room, panel.seq))} @input=${(event) => page.setThreadDraft(room, panel.seq, event.target.value)} />
      <button class="primary" type="submit">Send</button>
    </form>`;
}

// --- search ---

function searchView(chat, ui, page) {
  const { panel } = ui;
  return html`<form class="search" role="search" @submit=${page.search}>
      <input id="search" name="query" type="search" required maxlength="200" aria-label="Words to look for" placeholder="Words" autofocus />
      <button type="submit">Search</button>
      <label><input type="checkbox" name="here" /> only in ${chat.room.name}</label>
    </form>
    <p role="status" class="hint">${foundInWords(panel)}</p>
    <ul class="found">
      ${(panel.found ?? []).map((message) => foundView(message, chat, page))}
    </ul>
    ${panel.next ? html`<p><button @click=${() => page.searchMore()}>More</button></p>` : nothing}`;
}

function foundInWords({ found, next }) {
  if (!found) return "";
  return found.length === 0 ? "Nothing found." : `${found.length}${next ? " or more" : ""} found, the newest first.`;
}

function foundView(message, chat, page) {
  const room = chat.rooms.get(message.room);
  return html`<li>
    <button @click=${() => page.goTo(message.room, message.seq)}>
      <span class="facts"><strong>${message.from}</strong> in ${room?.name ?? message.room}, ${momentOf(message.ts)}</span>
      <span class="excerpt">${message.body.slice(0, 300)}</span>
    </button>
  </li>`;
}
