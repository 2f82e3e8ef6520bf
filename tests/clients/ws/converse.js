// node converse.js URL USER ROOM: the conversation with the library `ws`; prints what it was told as JSON.
import WebSocket from "ws";
import { converse } from "../conversation.js";

const [url, user, room] = process.argv.slice(2);
console.log(JSON.stringify(await converse(WebSocket, url, user, room)));
