// The page's beginning: asks the node what it is like, signs in, and shows what there is whenever that changes.

import { html, nothing, render } from "../vendor/lit-html/lit-html.js";
import { Chat } from "./chat.js";
import { Page } from "./page.js";
import { Scroller } from "./scroll.js";
import { nodesOf } from "./nodes.js";
import { Ui } from "./ui.js";
import { dialogView, openDialogs } from "./views/dialogs.js";
import { panelView } from "./views/panels.js";
import { roomView } from "./views/room.js";
import { sidebarView } from "./views/sidebar.js";
import { signInView } from "./views/signin.js";

const SESSION = "chat.session";
const LAST_USER = "chat.user";
const CONFIG_RETRY_MS = 2_000;
const CONFIG_TIMEOUT_MS = 10_000;
const NO_FRAME_MS = 200;

const root = document.getElementById("app");
const scroller = new Scroller();
const ui = new Ui(changed, show);
let config = null;
let chat = null;
let page = null;
let signIn = { kind: null, problem: "" };
let due = null;

// --- showing ---

/** Show it with the next frame; a page that is hidden or covered is given none, but its title still tells what is unread. */
function changed() {
  due ??= { frame: requestAnimationFrame(show), timer: setTimeout(show, NO_FRAME_MS) };
}

function show() {
  cancelAnimationFrame(due?.frame);
  clearTimeout(due?.timer);
  due = null;
  scroller.before();
  render(view(), root);
  openDialogs();
  scroller.after(chat?.room, ui.target);
  ui.giveFocus();
  page?.scrolled();
  document.title = titleOf();
}

function titleOf() {
  if (!chat) return "Chat";
  const unread = chat.unread > 0 ? `(${chat.unread}) ` : "";
  return `${unread}${chat.room ? `${chat.room.name} – ` : ""}Chat`;
}

function view() {
  if (!chat) return config ? signInView({ ...signIn, auth: config.auth, choose, signIn: begin }) : html`<p class="wait" role="status">${signIn.problem || "One moment…"}</p>`;
  const inRoom = chat.room || (chat.listed && page.stranger);
  return html`<header class="hidden"><h1>Chat</h1></header>
    <div class="chat ${inRoom ? "in-room" : "in-list"} ${ui.panel && chat.room ? "with-panel" : ""}">
      ${noticesView()} ${sidebarView(chat, ui, page)} ${roomView(chat, ui, page)} ${panelView(chat, ui, page)}
    </div>
    ${dialogView(chat, ui, page)}
    <p class="toast ${ui.problem ? "" : "empty"}" role="alert">${ui.problem}</p>
    <p class="hidden" aria-live="polite">${ui.announcement}</p>`;
}

function noticesView() {
  if (chat.notices.length === 0) return nothing;
  return html`<div class="notices" role="region" aria-label="Notices">
    ${chat.notices.map(({ level, text }) => html`<p class="notice ${level === "warning" ? "warning" : "info"}">${text}</p>`)}
  </div>`;
}

// --- signing in ---

function choose(kind) {
  signIn = { ...signIn, kind, problem: "" };
  changed();
}

function begin({ user, password, token }) {
  if (user) localStorage.setItem(LAST_USER, user);
  // A password is not kept anywhere: after a reload the browser's password manager gives it again.
  const credentials = token ? { token: token.trim() } : { user, password };
  if (password === undefined) sessionStorage.setItem(SESSION, JSON.stringify(credentials));
  enter(credentials);
}

function enter(credentials) {
  chat = new Chat({
    nodes: nodesOf(location, config),
    credentials,
    changed,
    say: (text) => ui.say(text),
    onReady: () => page?.hashChanged(),
    onMessage: (room, event) => page?.heard(room, event),
    onInvited: (room, by) => room.dm || ui.tell(`${by} invited you to ${room.name}`),
    onProblem: (problem) => ui.tell(problem),
    onEnd: ({ reason }) => leave(`${reason || "The node closed the connection for good"}. Sign in again; what was not sent is kept.`),
  });
  page = new Page(chat, ui, scroller, () => leave(""));
  chat.start();
  changed();
}

/** Back to signing in; what was not sent is kept for the same user. */
function leave(problem) {
  sessionStorage.removeItem(SESSION);
  chat.stop();
  chat = page = null;
  ui.show({ panel: null, dialog: null, problem: "", announcement: "" });
  choose(signIn.kind);
  signIn.problem = problem;
  signIn.user = localStorage.getItem(LAST_USER) ?? "";
}

// --- the beginning ---

async function loadConfig() {
  for (;;) {
    try {
      const answer = await fetch("config.json", { cache: "no-store", signal: AbortSignal.timeout(CONFIG_TIMEOUT_MS) });
      if (answer.ok) return await answer.json();
    } catch {
      // said below
    }
    signIn.problem = "The node does not answer; trying again.";
    changed();
    await new Promise((resolve) => setTimeout(resolve, CONFIG_RETRY_MS));
  }
}

async function start() {
  document.documentElement.dataset.theme = localStorage.getItem("chat.theme") ?? "system";
  changed();
  config = await loadConfig();
  signIn = { kind: config.auth[0], problem: "", user: localStorage.getItem(LAST_USER) ?? "" };
  const kept = sessionStorage.getItem(SESSION);
  if (kept) enter(JSON.parse(kept));
  changed();
}

addEventListener("hashchange", () => page?.hashChanged());
addEventListener("popstate", () => page?.hashChanged());
addEventListener("keydown", (event) => page?.keys(event));
addEventListener("storage", (event) => chat?.outbox?.storageChanged(event));
addEventListener("focus", () => page?.seen());
addEventListener("resize", changed);
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  chat?.wake();
  page?.seen();
});

start();
