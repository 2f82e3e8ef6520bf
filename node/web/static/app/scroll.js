// Keeps the reader's place while messages come in above and below.

const NEAR_PX = 60;
const EARLY_PX = 200;

export class Scroller {
  constructor() {
    this._room = null;
    this._place = null;
  }

  get _element() {
    return document.querySelector(".timeline");
  }

  /** Whether the end is in sight. */
  get atEnd() {
    const element = this._element;
    return !element || element.scrollHeight - element.scrollTop - element.clientHeight < NEAR_PX;
  }

  get nearBeginning() {
    const element = this._element;
    return element && element.scrollTop < EARLY_PX;
  }

  /** Before the page changes: where is the reader? */
  before() {
    const element = this._element;
    if (!element) return;
    const first = this.atEnd ? null : firstInSight(element);
    this._place = { id: first?.id, offset: first && first.offsetTop - element.scrollTop };
  }

  /** Afterwards: the same message at the same place; the end, if it was in sight; or where one was sent. */
  after(room, target) {
    const element = this._element;
    if (!element) return;
    const isNew = this._room !== room?.timeline;
    this._room = room?.timeline;
    if (target === null) this._shown = null;
    else if (this._show(element.querySelector(`#m-${target}`))) return;
    if (isNew) return this._toEnd(element);
    const kept = this._place?.id && element.querySelector(`#${this._place.id}`);
    if (kept) element.scrollTop = kept.offsetTop - this._place.offset;
    else if (!this._place?.id) this._toEnd(element);
  }

  /** Where the new messages begin, if all of them do not fit; else the end. */
  _toEnd(element) {
    element.scrollTop = element.scrollHeight;
    const mark = element.querySelector(".new");
    if (mark && mark.offsetTop < element.scrollTop) element.scrollTop = mark.offsetTop - NEAR_PX;
  }

  _show(message) {
    if (!message || message === this._shown) return false;
    this._shown = message;
    message.scrollIntoView({ block: "center" });
    focusMessage(message);
    return true;
  }
}

function firstInSight(element) {
  return [...element.querySelectorAll("li[id]")].find((item) => item.offsetTop + item.offsetHeight > element.scrollTop);
}

/** Give a message the keyboard; its buttons can be reached with Tab from there, those of others not. */
export function focusMessage(message) {
  const list = message.closest("ol");
  for (const other of list.querySelectorAll('li[tabindex="0"]')) setReachable(other, "-1");
  setReachable(message, "0");
  message.focus({ preventScroll: true });
  message.scrollIntoView({ block: "nearest" });
}

function setReachable(message, tabindex) {
  message.tabIndex = Number(tabindex);
  for (const button of message.querySelectorAll(".tools button")) button.tabIndex = Number(tabindex);
}
