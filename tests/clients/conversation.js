// A conversation with a node in plain JavaScript, for any WebSocket as browsers have it. Returns what it was told.
// Another client answers "hello" with "welcome", so that there is a push to receive.

class Client {
  constructor(WebSocket, url) {
    this.socket = new WebSocket(url);
    this.frames = [];
    this.wake = () => {};
    this.closed = new Promise((resolve) => {
      this.socket.onclose = (event) => resolve(event.code);
    });
    this.opened = new Promise((resolve, reject) => {
      this.socket.onopen = resolve;
      this.socket.onerror = () => reject(new Error("the connection was refused"));
    });
    this.socket.onmessage = (event) => {
      this.frames.push(JSON.parse(event.data));
      this.wake();
    };
    this.lastId = 0;
  }

  // The first frame, heard already or yet to come, that is wanted; it is heard once.
  async hear(wanted) {
    for (;;) {
      const index = this.frames.findIndex(wanted);
      if (index >= 0) return this.frames.splice(index, 1)[0];
      await new Promise((resolve) => { this.wake = resolve; });
    }
  }

  async ask(request) {
    const id = ++this.lastId;
    this.socket.send(JSON.stringify({ id, ...request }));
    return this.hear((frame) => frame.id === id);
  }
}

export async function connect(WebSocket, url, user) {
  const client = new Client(WebSocket, url);
  await client.opened;
  const welcome = await client.ask({ op: "hello", v: [1], user });
  return [client, welcome.ok];
}

export async function converse(WebSocket, url, user, room) {
  const message = (body) => (frame) => frame.op === "msg" && frame.body === body;
  const [first, welcome] = await connect(WebSocket, url, user);
  const joined = (await first.ask({ op: "join", room, limit: 0 })).ok;
  const sent = (await first.ask({ op: "send", room, cid: "c-1", body: "hello \u{1F44B}" })).ok;
  const pushed = await first.hear(message("welcome"));
  first.socket.close(1000);
  const code = await first.closed;

  const [second] = await connect(WebSocket, url, user);
  const missed = (await second.ask({ op: "send", room, cid: "c-2", body: "after" })).ok;
  const again = (await second.ask({ op: "send", room, cid: "c-1", body: "hello \u{1F44B}" })).ok;
  const since = { epoch: joined.epoch, seq: pushed.seq };
  const resumed = (await second.ask({ op: "join", room, since })).ok;
  const caughtUp = await second.hear(message("after"));
  const history = (await second.ask({ op: "history", room })).ok;
  second.socket.close();
  await second.closed;
  return { welcome, joined, sent, pushed, code, missed, again, resumed, caughtUp, history };
}
