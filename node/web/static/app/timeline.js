// What is known of one room's messages: events folded into them, pages of history put before or behind.
// Messages are never changed in place, so that what shows one is made anew only when it is another.

/** `seqs` is ascending; find where `seq` is or would be. */
function position(seqs, seq) {
  let low = 0;
  let high = seqs.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (seqs[middle] < seq) low = middle + 1;
    else high = middle;
  }
  return low;
}

export class Timeline {
  constructor() {
    this._bySeq = new Map();
    this._seqs = [];
    /** Whether nothing earlier is to be had. */
    this.complete = false;
    /** Whether it reaches to the room's last event, so that live events go on from it. */
    this.live = false;
    /** Up to here everything is known. */
    this.reach = 0;
  }

  get messages() {
    return this._seqs.map((seq) => this._bySeq.get(seq));
  }

  get first() {
    return this._seqs[0];
  }

  get last() {
    return this._seqs.at(-1);
  }

  get(seq) {
    return this._bySeq.get(seq);
  }

  /** Put a page of history in; it counts more than what was known. */
  add(messages) {
    for (const message of messages) this._put({ ...message });
  }

  /** Keep only the last so many messages: what was read long ago can be had again. */
  trim(count) {
    if (!this.live || this._seqs.length <= count) return;
    for (const seq of this._seqs.splice(0, this._seqs.length - count)) this._bySeq.delete(seq);
    this.complete = false;
  }

  /** Fold one of the room's events in. */
  apply(event) {
    if (event.op === "msg") this._message(event);
    else if (event.op === "edit") this._change(event.target, () => ({ body: event.body, mentions: event.mentions, edited: event.ts }));
    else if (event.op === "delete") this._change(event.target, () => ({ body: "", deleted: true, reactions: undefined }));
    else if (event.op === "react") this._change(event.target, (message) => ({ reactions: reacted(message.reactions, event) }));
    else if (event.op === "member" || event.op === "room") this._live(event);
  }

  _message(event) {
    if (this._bySeq.has(event.seq)) return;
    if (event.thread !== undefined) this._change(event.thread, (root) => ({ replies: (root.replies ?? 0) + 1 }));
    this._live(event);
  }

  _live(event) {
    if (this.live) this._put(event);
  }

  _change(seq, difference) {
    const message = this._bySeq.get(seq);
    if (message) this._bySeq.set(seq, { ...message, ...difference(message) });
  }

  _put(message) {
    if (!this._bySeq.has(message.seq)) this._seqs.splice(position(this._seqs, message.seq), 0, message.seq);
    this._bySeq.set(message.seq, message);
  }
}

/** The reactions of a message after one more event: emoji -> users, in the order in which they came. */
export function reacted(reactions = {}, { emoji, from, on }) {
  const others = (reactions[emoji] ?? []).filter((user) => user !== from);
  const users = on ? [...others, from] : others;
  const { [emoji]: _, ...rest } = reactions;
  if (users.length === 0) return rest;
  return emoji in reactions ? { ...reactions, [emoji]: users } : { ...rest, [emoji]: users };
}
