// A form in a dialog.

import { html } from "../../vendor/lit-html/lit-html.js";

/** A form whose fields are given to `act`; the dialog closes when that comes true. */
export function dialogForm(ui, act, content) {
  const submit = async (event) => {
    event.preventDefault();
    if (await act(Object.fromEntries(new FormData(event.target)))) ui.closeDialog();
  };
  return html`<form @submit=${submit}>${content}</form>`;
}
