// What owners and moderators may do with a room, its members and what they say.

import { html, nothing } from "../../vendor/lit-html/lit-html.js";
import { dialogForm } from "./forms.js";

const MUTES = [
  [10, "10 minutes"],
  [60, "an hour"],
  [24 * 60, "a day"],
];

export function settingsView(chat, ui, page, { room }) {
  const leave = async () => {
    ui.closeDialog();
    await chat.leave(room);
  };
  return html`<p><span class="facts">Id</span> <code>${room.id}</code></p>
    ${!room.dm && room.may("moderator", chat.roles) ? changeView(chat, ui, room) : nothing}
    ${!room.dm && room.may("moderator", chat.roles) ? bansView(chat, ui, room) : nothing}
    <p class="actions">
      <button @click=${leave}>Leave</button>
      ${!room.dm && room.may("owner", chat.roles)
        ? html`<button class="danger" @click=${() => page.deleteRoom(room)}>Delete the room and all that was said in it</button>`
        : nothing}
    </p>`;
}

function changeView(chat, ui, room) {
  const owner = room.may("owner", chat.roles);
  const change = ({ title, isPrivate }) => {
    const fields = owner ? { private: isPrivate === "on" } : {};
    return chat.act("update_room", { room: room.id, title, ...fields });
  };
  return dialogForm(
    ui,
    change,
    html`<label for="title">Title</label>
      <input id="title" name="title" maxlength="200" .value=${room.title} autocomplete="off" />
      ${owner ? html`<label><input type="checkbox" name="isPrivate" .checked=${room.private} /> Private</label>` : nothing}
      <button type="submit">Save</button>`,
  );
}

function bansView(chat, ui, room) {
  const submit = async (event) => {
    event.preventDefault();
    const user = new FormData(event.target).get("user").trim();
    if (await chat.act(event.submitter.value, { room: room.id, user })) event.target.reset();
  };
  return html`<form class="line" @submit=${submit}>
    <label for="ban-user">Name</label>
    <input id="ban-user" name="user" required maxlength="64" spellcheck="false" autocapitalize="none" autocomplete="off" />
    <button type="submit" value="ban" class="danger">Ban</button>
    <button type="submit" value="unban">Let in again</button>
  </form>`;
}

export function memberView(chat, ui, page, { room, user }) {
  const member = room.members.get(user);
  const moderator = room.may("moderator", chat.roles);
  const act = (op, fieldsNow = () => ({})) => async () => {
    if (await chat.act(op, { room: room.id, user, ...fieldsNow() })) ui.closeDialog();
  };
  const direct = async () => {
    if (await page.direct(user)) ui.closeDialog();
  };
  return html`<p><strong>${user}</strong> <span class="facts">${member?.role ?? "not in the room any more"}</span></p>
    <p class="actions"><button @click=${direct}>Direct message</button></p>
    ${moderator ? muteView(member, act) : nothing} ${room.may("owner", chat.roles) ? roleView(member, act) : nothing}
    ${moderator
      ? html`<p class="actions">
          <button class="danger" @click=${act("kick")}>Remove from the room</button>
          <button class="danger" @click=${act("ban")}>Ban from the room</button>
        </p>`
      : nothing}`;
}

function muteView(member, act) {
  if (member?.muted_until > Date.now()) return html`<p class="actions"><button @click=${act("mute", () => ({ until: 0 }))}>Unmute</button></p>`;
  return html`<p class="actions">
    Mute for
    ${MUTES.map(([minutes, words]) => html`<button @click=${act("mute", () => ({ until: Date.now() + minutes * 60_000 }))}>${words}</button>`)}
  </p>`;
}

function roleView(member, act) {
  return html`<p class="actions">
    Make
    ${["owner", "moderator", "member"]
      .filter((role) => role !== member?.role)
      .map((role) => html`<button @click=${act("role", () => ({ role }))}>${role}</button>`)}
  </p>`;
}

export function deleteView(chat, ui, page, { room, message }) {
  const remove = async () => {
    if (await chat.act("delete", { room: room.id, seq: message.seq })) ui.closeDialog();
  };
  return html`<blockquote>${message.body.slice(0, 300)}</blockquote>
    <p class="actions">
      <button class="danger" @click=${remove} autofocus>Delete</button>
      <button @click=${() => ui.closeDialog()}>Keep</button>
    </p>`;
}
