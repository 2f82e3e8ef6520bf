// Times, names and numbers as people read them.

const time = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });
const HUES = 8;

export const timeOf = (ts) => time.format(ts);
export const dayOf = (ts) => day.format(ts);
export const momentOf = (ts) => full.format(ts);
export const isoOf = (ts) => new Date(ts).toISOString();
export const plural = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;

export function initialsOf(user) {
  const parts = user.split(/[._@+-]+/).filter(Boolean);
  return (parts.length > 1 ? parts[0][0] + parts[1][0] : user.slice(0, 2)).toUpperCase();
}

/** One of a few colours, the same for the same name. */
export function hueOf(user) {
  let sum = 0;
  for (const character of user) sum = (sum * 31 + character.codePointAt(0)) >>> 0;
  return `hue-${sum % HUES}`;
}

export function listed(names) {
  return names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
}

/** What an event of the room that is no message says. */
export function eventInWords(event) {
  const who = event.by ?? event.user;
  const done = {
    join: `${event.user} joined`,
    leave: `${event.user} left`,
    invite: `${who} invited ${event.user}`,
    role: `${who} made ${event.user} ${event.role}`,
    kick: `${who} removed ${event.user}`,
    ban: `${who} banned ${event.user}`,
    unban: `${who} let ${event.user} in again`,
    mute: `${who} muted ${event.user}`,
    unmute: `${who} unmuted ${event.user}`,
    created: `${who} made the room`,
    updated: `${who} changed the room: ${event.title || event.room}${event.private ? ", private" : ""}`,
  };
  return done[event.change] ?? `${who}: ${event.change}`;
}
