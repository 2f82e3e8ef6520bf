// Rooms on the `ws` library: "+ROOM" joins and is answered; "ROOM BODY" goes to everyone in the room. Nothing is stored.
import { WebSocketServer } from "ws";

const server = new WebSocketServer({ host: "127.0.0.1", port: 0 }, () => console.log(server.address().port));
const rooms = new Map();

server.on("connection", (client) => {
  const mine = [];
  client.on("message", (data) => {
    const text = data.toString();
    if (text[0] === "+") {
      const name = text.slice(1);
      if (!rooms.has(name)) rooms.set(name, new Set());
      mine.push(rooms.get(name).add(client));
      client.send(text);
      return;
    }
    const members = rooms.get(text.slice(0, text.indexOf(" "))) ?? [];
    for (const member of members) member.send(data, { binary: false });
  });
  client.on("close", () => mine.forEach((members) => members.delete(client)));
});
