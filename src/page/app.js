// Fills the demo's page from /state.json, twice a second. Everything from the state goes in as text, never as markup.
"use strict";

const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const HOUR = 3.6e9; // microseconds

function make(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes || {})) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function draw(tag, attributes, text) {
  const node = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

const shade = (finding) => (finding === "drift+probing" ? "both" : finding);
const whole = (number) => Math.round(number).toLocaleString("en");

// ---- the picture: bars of traffic, a lane for the truth, a lane for the verdict ----

function traffic(state) {
  const width = 1180, left = 108, right = 12, top = 16, bars = 150, lane = 24, gap = 8;
  const bottom = top + bars + 22;
  const lanes = 3;
  const height = bottom + lanes * lane + (lanes - 1) * gap + 6;
  const from = state.start_micros;
  // The picture shows a whole day, and moves on after that.
  const span = Math.max(24 * HOUR, state.clock_micros - from);
  const x = (at) => left + ((Math.max(at, from) - from) / span) * (width - left - right);
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}` });
  // A batch job or a load test towers over everything: the scale is that of ordinary hours, and what goes beyond carries its number.
  const sums = state.buckets.map((b) => b.honest + b.attack);
  const ordinary = [...sums].sort((a, b) => a - b)[Math.floor(0.9 * sums.length)] || 0;
  const peak = Math.max(20, Math.min(Math.max(...sums, 0), 1.35 * ordinary));
  const y = (n) => top + bars - (Math.min(n, peak) / peak) * bars;

  // Lines at round numbers: 1, 2 or 5 times a power of ten.
  const third = (peak * 6) / 2.2, power = 10 ** Math.floor(Math.log10(third));
  const unit = power * [1, 2, 5].filter((n) => n * power <= third).pop();
  for (let hourly = 0; hourly <= peak * 6; hourly += unit) {
    svg.append(draw("line", { class: "grid", x1: left, x2: width - right, y1: y(hourly / 6), y2: y(hourly / 6) }));
    svg.append(draw("text", { x: left - 8, y: y(hourly / 6) + 4, "text-anchor": "end" }, whole(hourly)));
  }
  svg.append(draw("text", { x: 0, y: top + 4 }, "queries"));
  svg.append(draw("text", { x: 0, y: top + 19 }, "an hour"));
  const bar = Math.max(1, x(from + HOUR / 6) - x(from) - 1);
  let labelled = -Infinity;
  for (const b of state.buckets) {
    svg.append(draw("rect", { class: "bar-honest", x: x(b.at), y: y(b.honest), width: bar, height: top + bars - y(b.honest) }));
    if (b.attack) {
      const above = y(b.honest + b.attack);
      svg.append(draw("rect", { class: "bar-attack", x: x(b.at), y: above, width: bar, height: Math.max(1.5, y(b.honest) - above) }));
    }
    const sum = b.honest + b.attack;
    if (sum > 1.05 * peak && x(b.at) > labelled + 34) {
      labelled = x(b.at);
      svg.append(draw("text", { class: "over", x: x(b.at) + bar / 2, y: top - 3, "text-anchor": "middle" }, `↑${whole((sum * 6) / 1000)}k`));
    }
  }
  for (let at = Math.ceil(from / (3 * HOUR)) * 3 * HOUR; at <= from + span; at += 3 * HOUR) {
    const label = new Date(at / 1000).toISOString().slice(11, 16);
    svg.append(draw("text", { x: x(at), y: top + bars + 16, "text-anchor": "middle" }, label));
  }

  const block = (row, since, until, kind, word) => {
    const at = bottom + row * (lane + gap);
    const wide = x(until) - x(since);
    if (wide <= 0) return;
    svg.append(draw("rect", { class: `fill-${kind}`, x: x(since), y: at, width: wide, height: lane, rx: 4 }));
    const fits = Math.floor((wide - 12) / 6.9);
    const shown = word.length <= fits ? word : fits > 6 ? `${word.slice(0, fits - 1)}…` : "";
    const label = draw("text", { class: "word", x: x(since) + 7, y: at + 16 }, shown);
    label.append(draw("title", {}, word));
    svg.append(label);
  };
  const now = state.clock_micros;
  ["The world drifts", "An attack runs", "Tripline says"].forEach((label, row) => {
    svg.append(draw("text", { x: 0, y: bottom + row * (lane + gap) + 16 }, label));
    block(row, from, now, "none", "");
  });
  // A drift stays; an attack lasts until its last query.
  for (const act of state.acts.filter((a) => a.from < now)) {
    const attack = act.kind === "probing";
    const until = attack ? Math.max(act.from, Math.min(now, state.attack_until || now)) : now;
    block(attack ? 1 : 0, act.from, until, act.kind, act.words.replace(/^(drift|attack from): ?/, ""));
  }
  state.said.forEach((said, i) => {
    const until = i + 1 < state.said.length ? state.said[i + 1].from : now;
    block(2, Math.max(said.from, from), until, shade(said.finding), said.finding.replace("+", " + "));
  });
  svg.append(draw("line", { class: "now", x1: x(now), x2: x(now), y1: top, y2: height - 6 }));
  $("traffic").replaceChildren(svg);
}

// ---- the lists ----

let drawn = {};
// Redraws a part only when its state changed, so that scrolling and selecting survive.
function part(name, state, render) {
  const key = JSON.stringify(state);
  if (drawn[name] !== key) {
    drawn[name] = key;
    render(state);
  }
}

function flagged(state) {
  const items = state.flagged.map((f) => {
    const what = `${f.family} – ${f.explained}. Flagged ${f.at.slice(11)} after ${whole(f.queries)} ${f.queries === 1 ? "query" : "queries"}, confidence ${confidence(f.confidence)}.`;
    return make("li", {},
      make("span", { class: `tag ${f.attacker ? "right" : "wrong"}` }, f.attacker ? "✓ really the attacker" : "✗ honest in truth"),
      make("span", { class: "who" }, f.account ? `${f.who} (${f.account})` : f.who),
      make("p", { class: "what" }, what),
      make("ul", {}, ...f.why.map((why) => make("li", {}, why))));
  });
  if (state.more_flagged) items.push(make("li", {}, `and ${whole(state.more_flagged)} more`));
  if (!items.length) items.push(make("p", { class: "empty" }, "Nobody so far."));
  $("flagged").replaceChildren(...items);
  $("campaigns").replaceChildren(...state.campaigns.map((c) =>
    make("p", {}, `${whole(c.members)} addresses belong to one campaign (${c.family}), ${whole(c.queries)} queries.`)));
}

function confidence(share) {
  const percent = share * 100;
  return percent >= 99.99 ? "above 99.99 %" : `${percent.toFixed(percent > 99 ? 2 : 1)} %`;
}

function features(list) {
  if (!list.length) {
    $("features").replaceChildren(make("p", { class: "empty" }, "The first window is still filling."));
    return;
  }
  // A square root keeps small values visible next to large ones.
  const most = Math.max(0.12, ...list.map((f) => Math.max(f.psi, f.without, f.critical * 1.3)));
  const place = (value) => `${(100 * Math.sqrt(Math.max(0, value) / most)).toFixed(2)}%`;
  $("features").replaceChildren(...list.map((f) => {
    const [all, rest, tick] = ["all", "rest", "tick"].map((name) => make("i", { class: name }));
    all.style.width = place(f.psi);
    rest.style.width = place(f.without);
    tick.style.left = place(f.critical);
    const track = make("div", { class: "track", title: `PSI ${f.psi.toFixed(3)}, by chance up to ${f.critical.toFixed(3)}, without suspects ${f.without.toFixed(3)}` }, all);
    if (Math.abs(f.without - f.psi) > 0.004) track.append(rest);
    track.append(tick);
    const state = f.drifting ? " drifting" : f.psi > f.critical && f.without <= f.critical ? " beyond" : "";
    return make("div", { class: `feature${state}` }, make("b", { title: f.name }, f.name === "prediction" ? "the model's answer" : f.name), track, make("span", {}, f.psi.toFixed(3)));
  }));
}

function lines(list) {
  const kinds = { truth: "really happens", stable: "Tripline", drift: "Tripline", probing: "Tripline", "drift+probing": "Tripline" };
  $("lines").replaceChildren(...list.map((line) =>
    make("li", {}, make("time", {}, line.at), make("em", { class: `k-${shade(line.kind)}` }, kinds[line.kind] || line.kind), make("span", {}, line.text))));
  if (!list.length) $("lines").replaceChildren(make("p", { class: "empty" }, "Nothing yet: an ordinary morning."));
}

function tile(id, text, mood) {
  $(id).textContent = text;
  $(id).className = mood || "";
}

function show(state) {
  document.body.dataset.finding = state.finding;
  $("clock").textContent = state.clock;
  $("headline").textContent = state.headline;
  $("explained").textContent = state.explained;
  const { attackers, found, honest, accused } = state.score;
  tile("rate", whole(state.rate));
  tile("callers", whole(state.clients || honest));
  tile("found", attackers ? `${whole(found)} of ${whole(attackers)}` : "no attack yet", attackers && found === attackers ? "good" : "");
  tile("accused", `${whole(accused)} of ${whole(honest)}`, accused ? "bad" : honest ? "good" : "");
  traffic(state);
  part("flagged", { flagged: state.flagged, more_flagged: state.more_flagged, campaigns: state.campaigns }, flagged);
  part("features", state.features, features);
  part("lines", state.lines, lines);
}

let failures = 0;
async function poll() {
  try {
    const answer = await fetch("/state.json");
    show(await answer.json());
    failures = 0;
  } catch {
    failures += 1;
    if (failures === 4) {
      $("headline").textContent = "The demo has ended";
      $("explained").textContent = "This page shows its last state.";
    }
  }
  setTimeout(poll, failures > 3 ? 3000 : 500);
}
poll();
