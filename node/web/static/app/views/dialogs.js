// What opens above the page. The browser keeps the keyboard inside, closes on Escape, and gives the focus back.

import { html, nothing } from "../../vendor/lit-html/lit-html.js";
import { live } from "../../vendor/lit-html/directives/live.js";
import { canNotify, notifies, wantNotifications } from "../notify.js";
import { plural } from "../words.js";
import { dialogForm } from "./forms.js";
import { deleteView, memberView, settingsView } from "./moderation.js";
import { inOrder } from "./sidebar.js";

const VIEWS = {
  switch: switchView,
  discover: discoverView,
  create: createView,
  direct: directView,
  menu: menuView,
  help: helpView,
  notice: noticeView,
  settings: settingsView,
  member: memberView,
  delete: deleteView,
};
const TITLES = {
  switch: "Go to a room",
  discover: "Find a room",
  create: "New room",
  direct: "New message",
  menu: "Menu",
  help: "Keys",
  notice: "Notice to everybody",
  settings: "Room",
  member: "Member",
  delete: "Delete this message?",
};

export function dialogView(chat, ui, page) {
  const { dialog } = ui;
  if (!dialog) return nothing;
  return html`<dialog aria-labelledby="dialog-title" @close=${() => ui.closeDialog()} @click=${closeOutside}>
    <header>
      <h2 id="dialog-title">${TITLES[dialog.kind]}</h2>
      <button class="icon" aria-label="Close" title="Close (Esc)" @click=${() => ui.closeDialog()}><span aria-hidden="true">✕</span></button>
    </header>
    <div class="inside">${VIEWS[dialog.kind](chat, ui, page, dialog)}</div>
  </dialog>`;
}

/** A dialog that has just been rendered is only there once the browser is told so. */
export function openDialogs() {
  document.querySelector("dialog:not([open])")?.showModal();
}

function closeOutside(event) {
  if (event.target === event.currentTarget) event.currentTarget.close();
}

function switchView(chat, ui, page, { filter = "" }) {
  const wanted = filter.toLowerCase();
  const rooms = inOrder(chat).filter((room) => room.mine && (room.name + room.id).toLowerCase().includes(wanted));
  const go = (room) => {
    ui.closeDialog();
    page.go(room.id);
  };
  const submit = (event) => {
    event.preventDefault();
    if (rooms[0]) go(rooms[0]);
  };
  return html`<form @submit=${submit}>
      <input aria-label="Part of its name" placeholder="Part of its name; Enter takes the first" autofocus autocomplete="off"
        @input=${(event) => ui.openDialog("switch", { filter: event.target.value })} />
    </form>
    <ul class="choices">
      ${rooms.slice(0, 12).map(
        (room) => html`<li>
          <button @click=${() => go(room)}>${room.name}${room.unread ? html` <span class="badge">${room.unread}</span>` : nothing}</button>
        </li>`,
      )}
    </ul>`;
}

function discoverView(chat, ui, page, { rooms, more, prefix = "" }) {
  const join = async (row) => {
    if (await chat.enter(row.room)) {
      ui.closeDialog();
      page.go(row.room);
    }
  };
  return html`<form @submit=${(event) => event.preventDefault()}>
      <label for="prefix">Begins with</label>
      <input id="prefix" maxlength="64" autofocus autocomplete="off" autocapitalize="none" spellcheck="false" .value=${prefix}
        @input=${(event) => page.discover(event.target.value)} />
    </form>
    <p role="status" class="hint">${rooms ? (rooms.length === 0 ? "No room begins so." : "") : "Looking…"}</p>
    <ul class="choices">
      ${(rooms ?? []).map(
        (row) => html`<li>
          <span class="name"><strong>${row.title || row.room}</strong> <span class="facts">${row.room}, ${plural(row.members, "member")}</span></span>
          <button aria-label="${row.role && row.role !== "invited" ? "Open" : "Join"} ${row.title || row.room}" @click=${() => join(row)}>
            ${row.role && row.role !== "invited" ? "Open" : "Join"}
          </button>
        </li>`,
      )}
    </ul>
    ${more ? html`<button @click=${() => page.discoverMore()}>More</button>` : nothing}`;
}

function createView(chat, ui, page) {
  const create = async ({ room, title, isPrivate }) => {
    const created = await chat.create({ room, title, private: isPrivate === "on" });
    if (created) page.go(room);
    return created;
  };
  return dialogForm(
    ui,
    create,
    html`<label for="new-room">Id</label>
      <input id="new-room" name="room" required maxlength="64" pattern="(?!dm[.])[a-z0-9][a-z0-9._\\-]*"
        title="Small letters, digits and . _ -, but not dm. at the beginning"
        autofocus autocomplete="off" autocapitalize="none" spellcheck="false" />
      <p class="hint">Small letters, digits and <code>. _ -</code>; it stays.</p>
      <label for="new-title">Title</label>
      <input id="new-title" name="title" maxlength="200" autocomplete="off" />
      <label><input type="checkbox" name="isPrivate" /> Private: only who is invited knows of it</label>
      <button class="primary" type="submit">Make the room</button>`,
  );
}

function directView(chat, ui, page) {
  const open = ({ user }) => page.direct(user.trim());
  return dialogForm(
    ui,
    open,
    html`<label for="direct-user">To whom</label>
      <input id="direct-user" name="user" required maxlength="64" autofocus autocomplete="off" autocapitalize="none" spellcheck="false" />
      <button class="primary" type="submit">Open</button>`,
  );
}

function menuView(chat, ui, page) {
  return html`<p>Signed in as <strong>${chat.me}</strong>${chat.roles.includes("admin") ? ", server admin" : ""}</p>
    <fieldset class="kinds">
      <legend>Colours</legend>
      ${["system", "light", "dark"].map(
        (theme) => html`<label>
          <input type="radio" name="theme" value=${theme} .checked=${page.theme === theme} @change=${() => page.setTheme(theme)} /> ${theme}
        </label>`,
      )}
    </fieldset>
    ${canNotify() ? notifyView(ui) : nothing}
    <p class="actions">
      <button @click=${() => ui.openDialog("help")}>Keys</button>
      ${chat.roles.includes("admin") ? html`<button @click=${() => ui.openDialog("notice")}>Notice to everybody</button>` : nothing}
      <button @click=${() => page.signOut()}>Sign out</button>
    </p>`;
}

function notifyView(ui) {
  const want = async (event) => {
    if ((await wantNotifications(event.target.checked)) !== event.target.checked) ui.tell("The browser does not allow notifications here");
    ui.openDialog("menu");
  };
  return html`<label><input type="checkbox" .checked=${live(notifies())} @change=${want} /> Notify me of mentions and direct messages</label>`;
}

const KEYS = [
  ["Ctrl K", "go to a room"],
  ["Alt ↑, Alt ↓", "the room above, below"],
  ["Alt Shift ↓", "the next room with something new"],
  ["F6", "from the rooms to the messages to the composer, and on"],
  ["Ctrl Shift F", "search"],
  ["Enter", "send; with Shift, a new line"],
  ["↑", "in the empty composer: edit your last message"],
  ["↑, ↓, Home, End", "in the messages: from one to another"],
  ["r, t, e, d, +", "on a message: reply, thread, edit, delete, react"],
  ["Esc", "close, cancel, back to the composer"],
];

function helpView() {
  return html`<dl class="keys">${KEYS.map(([keys, words]) => html`<dt>${keys}</dt><dd>${words}</dd>`)}</dl>
    <p>
      In messages: <code>**bold**</code>, <code>*italic*</code>, <code>~~struck~~</code>, <code>\`code\`</code>, lists, quotes with
      <code>&gt;</code>, blocks of code between lines of <code>\`\`\`</code>, links.
    </p>`;
}

function noticeView(chat, ui) {
  const send = ({ text, level, minutes }) => chat.act("notice", { text, level, until: Date.now() + Number(minutes) * 60_000 });
  return dialogForm(
    ui,
    send,
    html`<label for="notice-text">Words</label>
      <input id="notice-text" name="text" required maxlength="1000" autofocus autocomplete="off" />
      <label for="notice-level">Level</label>
      <select id="notice-level" name="level"><option>info</option><option>warning</option></select>
      <label for="notice-minutes">Minutes to show it</label>
      <input id="notice-minutes" name="minutes" type="number" min="1" max="10080" value="60" required />
      <button class="primary" type="submit">Tell everybody</button>`,
  );
}
