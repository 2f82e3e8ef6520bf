// What was said before: pages of a room's history, threads, searches.

const PAGE = 50;
const THREAD = 500;

export class Past {
  constructor(link, changed) {
    this._link = link;
    this._changed = changed;
  }

  /** The last messages, and all that come from now on; also the way back from earlier ones. */
  async latest(room, { again = false } = {}) {
    if (!again && (room.timeline.live || room.loading)) return;
    room.forget();
    room.timeline.live = true;
    await this._pages(room);
  }

  /** What was said before what is known. */
  async earlier(room) {
    const { complete, first } = room.timeline;
    if (room.loading || complete || first === undefined) return;
    await this._pages(room, first);
  }

  /** What was said after what is known, where that does not reach to the end. */
  async later(room) {
    const { live, reach } = room.timeline;
    if (room.loading || live || reach === 0) return;
    await this._upTo(room, reach + PAGE, reach + 1);
  }

  /** A message of whatever time, in the middle of a page. */
  async around(room, seq) {
    room.forget();
    await this._upTo(room, seq + PAGE / 2, seq);
  }

  async thread(room, seq) {
    return (await this._link.ask("history", { room: room.id, thread: seq, limit: THREAD })).msgs;
  }

  search(fields) {
    return this._link.ask("search", fields);
  }

  /** What ends at `seq` and goes back at least to `from`. Where `seq` is the end, what comes from now on goes on from it. */
  async _upTo(room, seq, from) {
    const { timeline } = room;
    const { live, reach } = timeline;
    Object.assign(timeline, { live: seq >= room.head, reach: seq });
    try {
      await this._pages(room, seq + 1, from);
    } catch (error) {
      Object.assign(timeline, { live, reach }); // what did not come is asked for again
      throw error;
    }
  }

  /**
   * What is before `before` (the end, if left out): a page, or as many as it takes to go back to `from`, for a page has fewer
   * messages where they are large. They are shown together: one by one there would be a hole above the last of them.
   */
  async _pages(room, before, from = Infinity) {
    const { timeline } = room;
    const found = [];
    let beginning;
    room.loading = true;
    this._changed();
    try {
      do {
        const { msgs, first } = await this._link.ask("history", { room: room.id, limit: PAGE, before });
        found.push(...msgs);
        [before, beginning] = [msgs[0]?.seq ?? 0, first];
      } while (before > from && timeline === room.timeline);
      timeline.add(found);
      if (before <= beginning) timeline.complete = true;
    } finally {
      room.loading = false;
      this._changed();
    }
  }
}
