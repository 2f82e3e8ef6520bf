// Rooms of Socket.IO over WebSocket: the event "join" is answered by "joined"; "m" goes to everyone in the room.
import { createServer } from "node:http";
import { Server } from "socket.io";

const http = createServer();
const server = new Server(http, { transports: ["websocket"], pingInterval: 600000 });

server.on("connection", (client) => {
  client.on("join", (room) => {
    client.join(room);
    client.emit("joined", room);
  });
  client.on("m", (room, body) => server.to(room).emit("m", body));
});
http.listen(0, "127.0.0.1", () => console.log(http.address().port));
