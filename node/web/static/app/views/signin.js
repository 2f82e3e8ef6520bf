// Who are you? Asks for what the node takes: an account, a guest's name, or a token.

import { html, nothing } from "../../vendor/lit-html/lit-html.js";

const KINDS = { accounts: "Account", guest: "Guest", token: "Token" };

/**
 * @param {object} page
 * @param {string[]} page.auth what the node takes
 * @param {string} page.kind what is chosen
 * @param {string} page.problem why the last attempt failed
 * @param {string} page.user the last name
 */
export function signInView({ auth, kind, problem, user, choose, signIn }) {
  const submit = (event) => {
    event.preventDefault();
    signIn(Object.fromEntries(new FormData(event.target)));
  };
  return html`<main class="signin">
    <form @submit=${submit} aria-labelledby="signin-title">
      <h1 id="signin-title">Sign in</h1>
      ${problem ? html`<p class="problem" role="alert">${problem}</p>` : nothing}
      ${auth.length > 1 ? kindsView(auth, kind, choose) : nothing} ${kind === "token" ? tokenView() : nameView(kind, user)}
      <button class="primary" type="submit">Sign in</button>
    </form>
  </main>`;
}

function kindsView(auth, kind, choose) {
  return html`<fieldset class="kinds">
    <legend>Sign in with</legend>
    ${auth.map(
      (name) => html`<label>
        <input type="radio" name="kind" value=${name} .checked=${name === kind} @change=${() => choose(name)} /> ${KINDS[name]}
      </label>`,
    )}
  </fieldset>`;
}

function nameView(kind, user) {
  return html`<label for="user">Name</label>
    <input id="user" name="user" autocomplete="username" required maxlength="64" pattern="[A-Za-z0-9][A-Za-z0-9._@+\\-]*"
      title="Letters, digits and . _ @ + -" spellcheck="false" autocapitalize="none" autofocus .value=${user} />
    ${kind === "guest"
      ? nothing
      : html`<label for="password">Password</label>
          <input id="password" name="password" type="password" autocomplete="current-password" required maxlength="1024" />`}`;
}

function tokenView() {
  return html`<label for="token">Token</label>
    <input id="token" name="token" type="password" autocomplete="off" required maxlength="16384" spellcheck="false" autofocus />
    <p class="hint">It stays in this tab and goes to the chat node only.</p>`;
}
