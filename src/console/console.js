// The console works without this script. It adds three things: times in the viewer's zone, moving through tables by keyboard, and pages
// that follow what happens. Everything it puts into a page was rendered and escaped by this server; the policy of the page would run
// nothing that came in with it.
"use strict";

// Times: the page shows UTC. The viewer's own zone stands in its place, and UTC in the tooltip.
const zone = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
function localTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime()) || time.title) continue;
    time.title = time.textContent.trim();
    time.textContent = zone.format(at);
  }
}

// Keys: j and k move through the rows of a list, Enter opens, x selects, / goes to the filter, ? shows this.
function rows() {
  return [...document.querySelectorAll("table.list tbody tr")];
}
function move(step) {
  const all = rows();
  if (all.length === 0) return;
  const now = all.findIndex((row) => row.contains(document.activeElement));
  const next = all[Math.min(Math.max(now + step, 0), all.length - 1)];
  const link = next.querySelector("a");
  if (link) link.focus();
}
function select() {
  const row = rows().find((one) => one.contains(document.activeElement));
  const box = row && row.querySelector("input[type=checkbox]");
  if (box) box.checked = !box.checked;
}
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && event.target.type !== "checkbox") return;
  const help = document.getElementById("keys");
  if (event.key === "j") move(1);
  else if (event.key === "k") move(-1);
  else if (event.key === "x") select();
  else if (event.key === "/") {
    const field = document.querySelector("form.filter input, form.filter select");
    if (!field) return;
    event.preventDefault();
    field.focus();
  } else if (event.key === "?" && help) help.open = !help.open;
});

// One box that selects all rows of its table.
for (const all of document.querySelectorAll("input[data-all]")) {
  all.hidden = false;
  all.addEventListener("change", () => {
    for (const box of all.closest("table").querySelectorAll("tbody input[type=checkbox]")) box.checked = all.checked;
  });
}

// Following: when verdicts come, the page is asked for again, at most every two seconds, and its parts that changed are exchanged.
// A part in which somebody writes or selects is left alone.
let due = 0;
async function refresh() {
  due = 0;
  const answer = await fetch(location.href, { headers: { accept: "text/html" } });
  if (!answer.ok || answer.redirected) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of document.querySelectorAll("[data-live][id]")) {
    const fresh = page.getElementById(part.id);
    const busy = part.contains(document.activeElement) || part.querySelector("input:checked, details[open]");
    if (!fresh || busy) continue;
    localTimes(fresh);
    if (fresh.innerHTML !== part.innerHTML) part.replaceChildren(...fresh.childNodes);
  }
}
if (document.querySelector("[data-live]") && window.EventSource) {
  const stream = new EventSource("/api/v1/verdicts/stream");
  const soon = () => { if (!due) due = setTimeout(refresh, 2000); };
  stream.addEventListener("verdict", soon);
  stream.addEventListener("missed", soon);
}
localTimes(document);
