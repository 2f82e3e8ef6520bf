// Loads the page. If a part of it does not come, because its node just goes away, the whole is loaded again: a browser
// may remember that a module failed, and never asks for it a second time.

const AGAIN_MS = 2_000;

import("./main.js").catch((problem) => {
  console.error(problem);
  document.getElementById("app").textContent = "A part of the page did not come; trying again.";
  setTimeout(() => location.reload(), AGAIN_MS);
});
