// The line that tells how the connection is, and no better than it is.

import { html } from "../../vendor/lit-html/lit-html.js";

const SOME_FAILURES = 4;

/** `[kind, words]`; the kinds are those of the style sheet. */
export function connectionInWords({ connection, resuming, unsent }) {
  const waiting = unsent > 0 ? ` ${unsent} unsent, kept.` : "";
  const { phase, node, lastNode, movedFrom, failures = 0 } = connection;
  if (phase === "ended") return ["lost", `Not connected.${waiting}`];
  if (phase === "moving") return ["busy", `${lastNode} goes away: moving to another node…${waiting}`];
  if (phase === "online" && resuming) return ["busy", `Resuming on ${node}…`];
  if (phase === "online" && movedFrom) return ["online", `Connected, moved from ${movedFrom} to ${node}.${waiting}`];
  if (phase === "online") return ["online", `Connected to ${node}.${waiting}`];
  if (!lastNode && failures === 0) return ["busy", "Connecting…"];
  if (!navigator.onLine || failures >= SOME_FAILURES) return ["lost", `Offline: trying again. What you write is kept.${waiting}`];
  return ["busy", `Connection lost: looking for another node…${waiting}`];
}

export function statusView(chat) {
  const unsent = chat.outbox?.all.filter(({ failed }) => !failed).length ?? 0;
  const [kind, words] = connectionInWords({ connection: chat.connection, resuming: chat.resuming, unsent });
  return html`<p class="connection ${kind}" role="status"><span class="lamp" aria-hidden="true"></span>${words}</p>`;
}
