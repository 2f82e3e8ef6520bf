// Where the nodes are, as the page sees them.

/**
 * An edge finds a node by itself, and may be lost with its machine: then those of the other machines are left. A page that came
 * from a node's own HTTP port knows that node's WebSocket port, and the addresses under which the other nodes say they are
 * reached.
 *
 * @param {Location} at where the page came from
 * @param {{http_port: number, websocket_port: number, nodes: string[], edges: string[]}} config what the node tells
 */
export function nodesOf(at, config) {
  const port = Number(at.port) || (at.protocol === "https:" ? 443 : 80);
  if (at.protocol === "https:") return { urls: () => ownFirst(`wss://${at.host}/ws`, config.edges), movable: false };
  if (port !== config.http_port) return { urls: () => [`ws://${at.host}/ws`], movable: false };
  return { urls: () => ownFirst(`ws://${at.hostname}:${config.websocket_port}/ws`, config.nodes), movable: true };
}

/** A node of a former release tells of no edges. */
function ownFirst(own, urls = []) {
  return [own, ...urls.filter((url) => url !== own)];
}
