// The text of a message as what is shown of it. The library splits the text into tokens, and here each known kind becomes a
// fixed template with the user's words as text nodes: nothing a user writes is ever read as markup, whatever it looks like.

import { html, nothing } from "../vendor/lit-html/lit-html.js";
import { Lexer } from "../vendor/marked/marked.esm.js";

const LINK = /^(https?:\/\/|mailto:)/i;
const MENTION = /(^|[^\w@])@([A-Za-z0-9][A-Za-z0-9._@+-]{0,63})/g;
const MAX_DEPTH = 12;

/**
 * @param {string} body
 * @param {{mentions?: string[], me?: string}} known who is named by it
 */
export function markdown(body, known = {}) {
  try {
    return blocks(new Lexer({ gfm: true, breaks: true }).lex(body), known, 0);
  } catch {
    return html`<p>${body}</p>`; // the library met what it cannot split
  }
}

function blocks(tokens, known, depth) {
  if (depth > MAX_DEPTH) return tokens.map((token) => token.raw);
  return tokens.map((token) => (BLOCKS[token.type] ?? rawBlock)(token, known, depth + 1));
}

function inline(tokens, known, depth) {
  if (depth > MAX_DEPTH) return tokens.map((token) => token.raw);
  return (tokens ?? []).map((token) => (INLINE[token.type] ?? asIs)(token, known, depth + 1));
}

const asIs = (token) => token.raw;
const rawBlock = (token) => html`<p class="raw">${token.raw.trimEnd()}</p>`;

const BLOCKS = {
  space: () => nothing,
  paragraph: (token, known, depth) => html`<p>${inline(token.tokens, known, depth)}</p>`,
  text: (token, known, depth) => (token.tokens ? inline(token.tokens, known, depth) : words(token.text, known)),
  code: (token) => html`<pre tabindex="0"><code>${token.text}</code></pre>`,
  blockquote: (token, known, depth) => html`<blockquote>${blocks(token.tokens, known, depth)}</blockquote>`,
  list: (token, known, depth) => {
    const items = token.items.map((item) => html`<li>${blocks(item.tokens, known, depth)}</li>`);
    return token.ordered ? html`<ol start=${Number(token.start) || 1}>${items}</ol>` : html`<ul>${items}</ul>`;
  },
  // Headings would mix with those of the page.
  heading: (token, known, depth) => html`<p><strong>${inline(token.tokens, known, depth)}</strong></p>`,
};

const INLINE = {
  text: (token, known, depth) => (token.tokens ? inline(token.tokens, known, depth) : words(token.raw, known)),
  escape: (token) => token.raw.slice(1),
  strong: (token, known, depth) => html`<strong>${inline(token.tokens, known, depth)}</strong>`,
  em: (token, known, depth) => html`<em>${inline(token.tokens, known, depth)}</em>`,
  del: (token, known, depth) => html`<del>${inline(token.tokens, known, depth)}</del>`,
  codespan: (token) => html`<code>${token.text}</code>`,
  br: () => html`<br />`,
  link: (token, known, depth) => {
    if (!LINK.test(token.href)) return token.raw;
    return html`<a href=${token.href} target="_blank" rel="noopener noreferrer nofollow">${inline(token.tokens, {}, depth)}</a>`;
  },
};

/** Text, with the names of those whom the node took for mentioned set apart. */
function words(text, { mentions = [], me }) {
  if (mentions.length === 0) return text;
  const parts = [];
  let at = 0;
  for (const match of text.matchAll(MENTION)) {
    const user = named(match[2], mentions);
    if (!user) continue;
    const start = match.index + match[1].length;
    parts.push(text.slice(at, start), html`<span class=${user === me ? "mention me" : "mention"}>@${user}</span>`);
    at = start + 1 + user.length;
  }
  return [...parts, text.slice(at)];
}

/** A name may be followed by a full stop or the like, which names may hold too. */
function named(found, mentions) {
  return mentions.filter((user) => found.startsWith(user)).sort((one, other) => other.length - one.length)[0];
}
