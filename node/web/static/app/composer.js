// What is typed into the composer: completion of names, editing, sending, drafts that survive the page.

const DRAFT = "chat.draft.";
const MAX_NAMES = 8;
const MENTION_BEFORE = /(?:^|\s)@([\w.@+-]*)$/;

/** What is kept for a place: a room, or a thread in it. */
export const draftOf = (me, place) => localStorage.getItem(`${DRAFT}${me}.${place}`) ?? "";

export function keepDraft(me, place, text) {
  const key = `${DRAFT}${me}.${place}`;
  try {
    if (text) localStorage.setItem(key, text);
    else localStorage.removeItem(key);
  } catch {
    // storage is full or forbidden: the draft lives as long as the page
  }
}

/** The names that fit what stands before the cursor: `{names, at, chosen}`, or null. */
export function complete(text, cursor, room, me) {
  const found = MENTION_BEFORE.exec(text.slice(0, cursor));
  if (!found) return null;
  const begun = found[1].toLowerCase();
  const names = [...room.members.keys()].filter((user) => user !== me && user.toLowerCase().startsWith(begun)).slice(0, MAX_NAMES);
  const at = cursor - found[1].length;
  const whole = names.length === 1 && names[0].toLowerCase() === begun;
  return names.length > 0 && !whole ? { names, at, chosen: 0 } : null;
}

/** The text with a name put in: `[text, cursor]`. */
export function completed(text, cursor, { names, at, chosen }) {
  const before = `${text.slice(0, at)}${names[chosen]} `;
  return [before + text.slice(cursor), before.length];
}

export const bytesOf = (text) => new TextEncoder().encode(text).length;
