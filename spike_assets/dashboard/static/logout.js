// The way out, for who had to log in: the session ends, and with it every page of it.

import { needsLogin, logOut } from "./api.js";
import { act } from "./alert-list.js";
import { byId } from "./dom.js";
import { signIn } from "./url.js";

/** Show the button where there is a session to end. */
export async function start() {
  const button = /** @type {HTMLButtonElement} */ (byId("logout"));
  button.addEventListener("click", () =>
    act(button, async () => {
      await logOut();
      signIn();
    }),
  );
  button.hidden = !(await needsLogin());
}
