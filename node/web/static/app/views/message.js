// One message, and what can be done with it.

import { html, nothing } from "../../vendor/lit-html/lit-html.js";
import { markdown } from "../markdown.js";
import { eventInWords, hueOf, initialsOf, isoOf, listed, momentOf, plural, timeOf } from "../words.js";

export const EMOJI = ["👍", "❤️", "😂", "🎉", "😮", "😢", "👀", "✅"];

/**
 * @param {object} message as history has it
 * @param {object} context `chat`, `ui`, `page`, `room`; `follows`: same author as above, shortly after; `inThread`
 */
export function messageView(message, context) {
  if (message.op !== "msg") return eventView(message);
  const { ui, follows, target } = context;
  const classes = ["message", follows && "follows", target && "target", named(message, context) && "named"].filter(Boolean);
  return html`<li id=${`${context.inThread ? "t" : "m"}-${message.seq}`} class=${classes.join(" ")} data-seq=${message.seq}
    tabindex="-1" aria-label=${labelOf(message)}>
    ${follows ? nothing : avatarView(message.from)}
    <div class="content">
      ${follows ? nothing : headView(message)} ${quoteView(message, context)} ${bodyView(message, context)}
      ${reactionsView(message, context)} ${threadView(message, context)}
      ${ui.reacting === message.seq ? paletteView(message, context) : nothing}
    </div>
    ${message.deleted ? nothing : toolsView(message, context)}
  </li>`;
}

const named = (message, { chat }) => message.mentions?.includes(chat.me);

function labelOf(message) {
  const said = message.deleted ? "deleted a message" : message.body;
  return `${message.from}, ${timeOf(message.ts)}: ${said}`;
}

function eventView(event) {
  return html`<li class="event" data-seq=${event.seq}>
    <time datetime=${isoOf(event.ts)}>${timeOf(event.ts)}</time> ${eventInWords(event)}
  </li>`;
}

export const avatarView = (user) => html`<span class="avatar ${hueOf(user)}" aria-hidden="true">${initialsOf(user)}</span>`;

function headView({ from, ts, edited }) {
  return html`<p class="head">
    <strong>${from}</strong>
    <time datetime=${isoOf(ts)} title=${momentOf(ts)}>${timeOf(ts)}</time>
    ${edited ? html`<span class="edited" title=${momentOf(edited)}>edited</span>` : nothing}
  </p>`;
}

function quoteView(message, { room, page, inThread }) {
  if (message.reply_to === undefined || inThread) return nothing;
  const quoted = room.excerpt(message.reply_to);
  return html`<button class="quote" @click=${() => page.goTo(room.id, message.reply_to)}>
    <span aria-hidden="true">↪</span> ${quoted ? html`<strong>${quoted.from}</strong> ${quoted.body}` : "an earlier message"}
  </button>`;
}

function bodyView(message, { chat, follows }) {
  if (message.deleted) return html`<p class="deleted">Message deleted</p>`;
  const edited = follows && message.edited ? html`<span class="edited" title=${momentOf(message.edited)}>edited</span>` : nothing;
  return html`<div class="body">${markdown(message.body, { mentions: message.mentions, me: chat.me })}${edited}</div>`;
}

function reactionsView(message, { chat, room }) {
  const reactions = Object.entries(message.reactions ?? {});
  if (reactions.length === 0) return nothing;
  return html`<p class="reactions">
    ${reactions.map(
      ([emoji, users]) => html`<button aria-pressed=${users.includes(chat.me)} title=${listed(users)}
        aria-label="${emoji} ${users.length} by ${listed(users)}" @click=${() => chat.react(room, message, emoji)}>${emoji} ${users.length}</button>`,
    )}
  </p>`;
}

function threadView(message, { page, inThread }) {
  if (!message.replies || inThread) return nothing;
  return html`<button class="thread" @click=${() => page.openThread(message.seq)}>${plural(message.replies, "reply", "replies")}</button>`;
}

/** What may be done with a message, by key: `[key, sign, words, act]`. */
export function actionsOf(message, { chat, room, ui, page }) {
  if (message.op !== "msg" || message.deleted) return [];
  const own = message.from === chat.me;
  const actions = [
    ["+", "☺", "React", () => page.offerEmoji(message.seq)],
    ["r", "↩", "Reply", () => page.reply(room, message)],
    ["t", "≡", "Show the thread", () => page.openThread(message.thread ?? message.seq)],
  ];
  if (own) actions.push(["e", "✎", "Edit", () => page.edit(room, message)]);
  if (own || room.may("moderator", chat.roles)) actions.push(["d", "✕", "Delete", () => ui.openDialog("delete", { room, message })]);
  return actions;
}

function toolsView(message, context) {
  return html`<div class="tools" role="group" aria-label="Actions for this message">
    ${actionsOf(message, context).map(
      ([key, sign, words, act]) => html`<button tabindex="-1" class="icon" title="${words} (${key})" aria-label=${words} @click=${act}>
        <span aria-hidden="true">${sign}</span>
      </button>`,
    )}
  </div>`;
}

function paletteView(message, { chat, room, ui }) {
  const react = (emoji) => {
    ui.show({ reacting: null });
    chat.react(room, message, emoji);
  };
  const submit = (event) => {
    event.preventDefault();
    const emoji = new FormData(event.target).get("emoji").trim();
    if (emoji) react(emoji);
  };
  return html`<form class="palette" @submit=${submit} aria-label="React with">
    ${EMOJI.map((emoji) => html`<button type="button" class="icon" @click=${() => react(emoji)}>${emoji}</button>`)}
    <input name="emoji" maxlength="32" size="4" placeholder="…" aria-label="Another emoji" />
  </form>`;
}

/** A message that is not acknowledged yet. */
export function unsentView(entry, { chat, connected }) {
  const kept = entry.unkept ? "The browser keeps nothing here: sent when there is a connection, if the page stays open" : "Kept, and sent when there is a connection";
  const state = entry.failed ? `Not sent: ${entry.failed}` : connected ? "Sending…" : kept;
  return html`<li class="message unsent ${entry.failed ? "failed" : ""}" data-cid=${entry.cid}>
    ${avatarView(chat.me)}
    <div class="content">
      <p class="head"><strong>${chat.me}</strong> <span class="state">${state}</span></p>
      <div class="body">${markdown(entry.body)}</div>
      ${entry.failed
        ? html`<p class="actions">
            <button @click=${() => chat.outbox.again(entry.cid)}>Try again</button>
            <button @click=${() => chat.outbox.discard(entry.cid)}>Discard</button>
          </p>`
        : nothing}
    </div>
  </li>`;
}
