// Asks for /state.json twice a second and replaces the parts of the page that changed. The parts are markup that the server has
// rendered and escaped; the page's policy would run nothing that came in with them.
"use strict";

const INTERVAL = 500; // milliseconds between two requests
const PATIENCE = 4; // failed requests in a row after which the demo has ended
const RETRY = 3000; // milliseconds between two requests after that

const drawn = {};

// A part that did not change is left alone, so that scrolling and selecting survive.
function show(parts) {
  for (const [id, markup] of Object.entries(parts)) {
    if (drawn[id] === markup) continue;
    drawn[id] = markup;
    document.getElementById(id).innerHTML = markup;
  }
}

let failures = 0;
async function poll() {
  try {
    const answer = await fetch("/state.json");
    show((await answer.json()).parts);
    failures = 0;
    document.getElementById("ended").hidden = true;
  } catch {
    failures += 1;
    document.getElementById("ended").hidden = failures < PATIENCE;
  }
  setTimeout(poll, failures < PATIENCE ? INTERVAL : RETRY);
}
poll();
