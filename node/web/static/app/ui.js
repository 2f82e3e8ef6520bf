// What the page itself remembers: which panel and dialog are open, what was searched, the last problem.

const PROBLEM_MS = 8_000;

export class Ui {
  /**
   * @param {() => void} changed asks for everything to be shown anew
   * @param {() => void} showNow does so at once
   */
  constructor(changed, showNow) {
    Object.assign(this, { _changed: changed, _showNow: showNow });
    /** `{kind: "members" | "search" | "thread", …}` beside the messages, or null. */
    this.panel = null;
    /** `{kind, …}` above everything, or null. */
    this.dialog = null;
    this.problem = "";
    /** Message under which the emoji are offered. */
    this.reacting = null;
    /** Message that was gone to. */
    this.target = null;
    /** Completion of a name in the composer: `{names, at, chosen}` or null. */
    this.completion = null;
    this.announcement = "";
    this._toFocus = null;
  }

  show(fields) {
    Object.assign(this, fields);
    this._changed();
  }

  /** Give something the keyboard once it has been rendered. */
  focus(selector) {
    this._toFocus = selector;
    this._changed();
  }

  giveFocus() {
    if (this._toFocus) document.querySelector(this._toFocus)?.focus();
    this._toFocus = null;
  }

  /** At once, since the next key may be pressed already, and is meant for it. */
  openDialog(kind, fields = {}) {
    this.show({ dialog: { kind, ...fields } });
    this._showNow();
  }

  closeDialog() {
    this.show({ dialog: null });
  }

  tell(problem) {
    clearTimeout(this._problemTimer);
    this._problemTimer = setTimeout(() => this.show({ problem: "" }), PROBLEM_MS);
    this.show({ problem });
  }

  /** Said by screen readers, not seen. The same words twice are said twice. */
  say(text) {
    this.show({ announcement: text === this.announcement ? `${text}\u00a0` : text });
  }
}
