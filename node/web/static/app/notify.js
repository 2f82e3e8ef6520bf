// Notifications of the system, for who is looking elsewhere: mentions and direct messages, if the user asked for them.

const WANTED = "chat.notify";
const SHOWN = 200;

/** Browsers know notifications only where nobody between can read along (https, or the same machine). */
export const canNotify = () => "Notification" in window && isSecureContext;

export const notifies = () => canNotify() && localStorage.getItem(WANTED) === "yes" && Notification.permission === "granted";

/** Ask for them, or do without from now on. Resolves with whether there are some. */
export async function wantNotifications(wanted) {
  localStorage.setItem(WANTED, wanted ? "yes" : "no");
  if (wanted && Notification.permission !== "granted") await Notification.requestPermission();
  return notifies();
}

/** Browsers of phones have the class, and throw. */
function show(title, options) {
  try {
    return new Notification(title, options);
  } catch {
    return null;
  }
}

/** Tell of a message, if it is for this user and nobody looks at the page; `open` is called when it is clicked. */
export function notify(room, event, me, open) {
  const forMe = event.from !== me && (room.dm || event.mentions?.includes(me));
  if (!forMe || document.hasFocus() || !notifies()) return;
  const shown = show(room.dm ? event.from : `${event.from} in ${room.name}`, { body: event.body.slice(0, SHOWN), tag: room.id });
  if (!shown) return;
  shown.onclick = () => {
    window.focus();
    shown.close();
    open();
  };
}
