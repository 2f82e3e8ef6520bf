// Where the nodes are, as the page sees them.

/**
 * Behind an edge there is one address for everything, and the edge finds a node. A page that came from a node's own HTTP port
 * knows that node's WebSocket port, and the addresses under which the other nodes say they are reached.
 *
 * @param {Location} at where the page came from
 * @param {{http_port: number, websocket_port: number, nodes: string[]}} config what the node tells
 */
export function nodesOf(at, config) {
  const port = Number(at.port) || (at.protocol === "https:" ? 443 : 80);
  if (at.protocol === "https:" || port !== config.http_port) {
    const scheme = at.protocol === "https:" ? "wss:" : "ws:";
    return { urls: () => [`${scheme}//${at.host}/ws`], movable: false };
  }
  const own = `ws://${at.hostname}:${config.websocket_port}/ws`;
  return { urls: () => [own, ...config.nodes.filter((url) => url !== own)], movable: true };
}
