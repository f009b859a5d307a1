/* The console's script: live pages, keys, lazy payloads. Everything works without it, less comfortably.

   One stream a browser: the tab that holds the lock "kheish-bell" reads the service's own event stream and
   tells the others. A ring only says that something happened; what is shown always comes from the server,
   rendered by the same templates as the first paint. State lives in data- attributes. */
const settings = document.querySelector("script[data-counts]").dataset;
const $ = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const after = (ms, call) => setTimeout(call, ms);
async function part(url, more = {}) {
  const answer = await fetch(url, { ...more, headers: { "X-Console": "part", ...more.headers } });
  if (answer.redirected && answer.url.includes("/login/")) { out = true; tell("out"); throw new Error("signed out"); }
  return answer;
}
document.documentElement.classList.add("kh-js");

/* ---- the dot: Live, Reconnecting, Paused, Ended, Polling, Signed out ---- */
const WORDS = { live: "Live", reconnecting: "Reconnecting", paused: "Paused", ended: "Ended", polling: "Polling", out: "Signed out" };
const dot = $("[data-dot]");
let paused = false, out = false;
function tell(state) {
  if (!dot) return;
  const shown = out ? "out" : paused && state !== "ended" ? "paused" : state;
  dot.hidden = false;
  if (dot.dataset.state === shown) return;
  dot.dataset.state = shown;
  $("[data-dot-words]", dot).textContent = WORDS[shown];
}

/* ---- a stream that comes back: same events once, in order ---- */
function live(url, kinds, on, last = "") {
  let source, timer, waits = 1, closed = false;
  function open() {
    if (closed) return;
    const cursor = last ? "?cursor=" + encodeURIComponent(last) : "";
    source = new EventSource(url + cursor);
    source.onopen = () => { waits = 1; on.state("live"); };
    source.onerror = () => {
      on.state("reconnecting");
      if (source.readyState !== EventSource.CLOSED) return;  // the browser comes back by itself
      waits = Math.min(waits * 2, 32);
      if (waits > 8) on.state("polling");
      timer = after(waits * 500, open);
    };
    for (const kind of kinds) source.addEventListener(kind, event => {
      if (event.lastEventId) last = event.lastEventId;
      on.event(kind, event);
    });
  }
  open();
  return { close() { closed = true; clearTimeout(timer); source.close(); } };
}

function shared(name, url, kinds, on) {
  if (!window.EventSource) { on.state("polling"); return; }
  if (!navigator.locks || !window.BroadcastChannel) {  // only https and this machine have locks
    let own = null;
    const look = () => {
      if (document.hidden) { own?.close(); own = null; }
      else own ??= live(url, kinds, { state: on.state, event: kind => on.ring(kind) });
    };
    document.addEventListener("visibilitychange", look);
    look();
    return;
  }
  const channel = new BroadcastChannel(name);
  let state = "";
  const leader = {
    state(now) { state = now; on.state(now); channel.postMessage({ state: now }); },
    event(kind) { on.ring(kind); channel.postMessage({ ring: kind }); },
  };
  let leads = false, followed = false;
  channel.onmessage = ({ data }) => {
    if (data === "hi") { if (leads && state) channel.postMessage({ state }); }
    else if (data.state) { followed = true; on.state(data.state); }
    else if (data.ring) on.ring(data.ring);
  };
  navigator.locks.request(name, () => new Promise(() => {
    leads = true;
    if (followed) leader.state("reconnecting");  // until the new stream is open, nobody listens
    live(url, kinds, leader);
  }));
  channel.postMessage("hi");
}

/* ---- fresh parts of the page ---- */
function swap(old, fresh) {
  if (old.innerHTML === fresh.innerHTML) return;
  if (old.contains(document.activeElement) && document.activeElement !== old) {
    const href = document.activeElement.getAttribute("href");
    old.innerHTML = fresh.innerHTML;
    if (href) all("a", old).find(link => link.getAttribute("href") === href)?.focus();
  } else old.innerHTML = fresh.innerHTML;
}
const keyOf = row => row.getAttribute("href") || $("th a, td a", row)?.getAttribute("href") || "";
const rowsOf = list => all(":scope > [data-row], :scope > tr", list);

function merge(list, fresh) {
  const now = new Map(rowsOf(fresh).map(row => [keyOf(row), row]));
  const here = rowsOf(list);
  if (!here.length && now.size) { list.innerHTML = fresh.innerHTML; return; }
  for (const row of here) {
    const next = now.get(keyOf(row));
    now.delete(keyOf(row));
    if (!next) leave(row, list, fresh);
    else if (row.tagName === "TR") [...row.cells].forEach((cell, n) => {
      if (!cell.classList.contains("action-checkbox") && next.cells[n]) swap(cell, next.cells[n]);
    });
    else { swap(row, next); row.className = next.className; }
  }
  announce(list, fresh, now.size);
}
function leave(row, list, fresh) {  // a table of one page alone has no other place for it
  if (list.tagName === "TBODY" && $(".paginator a", fresh.ownerDocument)) return;
  row.classList.add("kh-gone");
  after(900, () => row.remove());
}
function announce(list, fresh, number) {
  const place = list.closest(".kh-panel, .changelist-form-container") || list.parentElement;
  let pill = $(".kh-pill", place.parentElement);
  if (!number) { pill?.remove(); return; }
  if (!pill) {
    pill = document.createElement("button");
    pill.type = "button";
    pill.className = "kh-pill";
    pill.setAttribute("aria-live", "polite");
    place.before(pill);
  }
  pill.textContent = `${number} new`;
  pill.onclick = () => {
    if ($(CHOICE, list)) return again_with(all(`${CHOICE}:checked`, list).map(box => box.value));
    list.innerHTML = fresh.innerHTML;
    pill.remove();
    rowsOf(list)[0]?.focus?.();
  };
}
// Django's script for chosen rows knows those it found when it began: such a list is loaded anew.
const CHOICE = "input.action-select";
function again_with(chosen) {
  sessionStorage.setItem("kh-chosen", JSON.stringify(chosen));
  location.reload();
}
addEventListener("load", () => {
  const chosen = JSON.parse(sessionStorage.getItem("kh-chosen") || "[]");
  sessionStorage.removeItem("kh-chosen");
  for (const box of all(CHOICE)) if (chosen.includes(box.value) && !box.checked) box.click();
});

let stale = false, running = null, again = false;
async function refresh() {
  if (document.hidden || paused) { stale = true; return; }
  if (running) { again = true; return; }
  stale = false;
  running = show().catch(() => {}).finally(() => { running = null; if (again) { again = false; ring("later"); } });
}
async function show() {
  const pane = $("[data-pane]");
  const where = $("[data-refresh]")?.dataset.refresh || (pane ? pane.dataset.url : location.href.split("#")[0]);
  const answer = await part(where);
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const old of all("[data-part]")) {
    const next = $(`[data-part="${old.dataset.part}"]`, fresh);
    if (!next) continue;
    old.hidden = next.hidden;
    if ("rows" in old.dataset) merge(old, next); else swap(old, next);
  }
  const table = $("#result_list tbody"), next = $("#result_list tbody", fresh);
  if (table && next && dot) merge(table, next);
  else if (dot && Boolean(table) !== Boolean(next)) location.reload();  // the first row of an empty list, or the last
  if (pane) settled(pane, $("[data-pane]", fresh));
  else if ($(".kh-empty-page") && !$(".kh-empty-page", fresh)) location.reload();
  tick();
}
function settled(pane, fresh) {
  if (!fresh || pane.dataset.settled === fresh.dataset.settled || fresh.dataset.key !== pane.dataset.key) return;
  pane.dataset.settled = fresh.dataset.settled;
  for (const button of all("button[type=submit]", pane)) button.disabled = true;
  const words = $(".kh-settled", fresh);
  if (words) $(".kh-pane-head", pane)?.after(words);
}

async function since() {  // between drawing the page and hearing the bell
  const told = await count("?since=" + encodeURIComponent(settings.drawn));
  if (told?.moved) refresh();
}
async function count(query = "") {
  const answer = await part(settings.counts + query).catch(() => null);
  if (!answer?.ok) return null;
  const told = await answer.json(), { waiting } = told;
  for (const badge of all("[data-waiting]")) { badge.textContent = waiting; badge.hidden = !waiting; }
  document.title = (waiting ? `(${waiting}) ` : "") + document.title.replace(/^\(\d+\) /, "");
  return told;
}

/* A ring of something that waits is shown at once, work in progress at most every two seconds. */
let soon = 0;
const NOW = /^(approval|question|decision)\.|^run\.(waiting|completed|failed|cancelled|interrupted|queued)$/;
function ring(kind) {
  if (NOW.test(kind)) { clearTimeout(counting); counting = after(120, count); }
  const wait = NOW.test(kind) ? 150 : 2000;
  if (soon && soon.wait <= wait) return;
  clearTimeout(soon?.timer);
  soon = { wait, timer: after(wait, () => { soon = 0; refresh(); }) };
}
let counting = 0, poller = 0;
function poll(state) {  // no stream can be held: ask, less when nobody looks
  clearInterval(poller);
  poller = 0;
  if (state !== "polling") return;
  let idle = 0;
  poller = setInterval(() => {
    idle = document.hidden || Date.now() - touched > 60000 ? idle + 3 : 60;
    if (idle < 60) return;
    idle = 0;
    count();
    refresh();
  }, 3000);
}
let touched = Date.now();
for (const kind of ["pointermove", "keydown", "scroll"]) addEventListener(kind, () => { touched = Date.now(); }, { passive: true });

const line = $("[data-stream]");
let bell = "";
if (settings.bell) shared("kheish-bell", settings.bell, settings.kinds.split(","), {
  ring(kind) { if (!line) ring(kind); else if (NOW.test(kind)) { clearTimeout(counting); counting = after(120, count); } },
  state(now) {
    if (now === "live" && !bell) since();
    else if (now === "live" && bell !== "live") { count(); refresh(); }  // what was missed meanwhile
    bell = now;
    poll(now);
    if (!line) tell(now);
  },
});
document.addEventListener("visibilitychange", () => { if (!document.hidden && stale) refresh(); });
dot?.addEventListener("click", () => {
  if (out) { location.reload(); return; }  // the form to sign in, and back
  paused = !paused;
  tell(line ? dot.dataset.state : bell || "reconnecting");
  if (paused) stream?.close(), stream = null;
  else { if (line) follow(); else tell(bell || "reconnecting"); refresh(); }
});

/* ---- one run or session, event by event ---- */
let stream = null, fetching = false, more = false, wanted = 0;
function follow() {
  if (!line || stream || paused) return;
  if (line.dataset.over) { tell("ended"); return; }
  if (document.hidden) { tell("paused"); return; }
  stream = live(line.dataset.stream, [...settings.kinds.split(","), "message.delta", "run.ended"], {
    state: tell,
    event(kind, event) {
      if (kind === "message.delta") return type(JSON.parse(event.data).text);
      if (kind === "run.ended") { stream.close(); stream = null; line.dataset.over = "yes"; tell("ended"); pull(); return; }
      if (Number(event.lastEventId) > Number(line.dataset.last)) pull();
    },
  }, line.dataset.last);
}
function type(text) {
  const place = $("[data-typing]");
  if (place) { place.hidden = false; place.textContent += text; }
}
async function pull() {
  if (fetching) { more = true; return; }
  fetching = true;
  clearTimeout(wanted);
  await new Promise(done => after(60, done));
  try {
    const answer = await part(`${line.dataset.lines}?after=${line.dataset.last}`);
    if (answer.ok) add(await answer.text());
  } catch {
    more = !out;
    await new Promise(done => after(1000, done));
  }
  fetching = false;
  wanted = after(250, refresh);
  if (more) { more = false; pull(); }
}
function add(html) {
  const box = document.createElement("ol");
  box.innerHTML = html;
  const near = innerHeight + scrollY > document.documentElement.scrollHeight - 160;
  let number = 0;
  for (const row of [...box.children]) {
    const seq = Number(row.dataset.seq || 0);
    if (seq && seq <= Number(line.dataset.last)) continue;
    if (seq) { line.dataset.last = seq; number += 1; }
    if (row.id && document.getElementById(row.id)) continue;
    line.append(row);
  }
  const place = $("[data-typing]");
  if (number && place) { place.textContent = ""; place.hidden = true; }
  const said = $("[data-said]");
  if (said && number) said.textContent = `${number} new event${number > 1 ? "s" : ""}`;
  if (number && near) line.lastElementChild?.scrollIntoView({ block: "end" });
  else if (number) below(number);
}
function below(number) {
  let pill = $(".kh-below");
  if (!pill) {
    pill = document.createElement("button");
    pill.type = "button";
    pill.className = "kh-pill kh-below";
    pill.dataset.number = "0";
    document.body.append(pill);
    pill.onclick = () => { line.lastElementChild?.scrollIntoView({ block: "center" }); pill.remove(); };
  }
  pill.dataset.number = Number(pill.dataset.number) + number;
  pill.textContent = `↓ ${pill.dataset.number} new`;
}
if (line) {
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { stream?.close(); stream = null; if (!line.dataset.over) tell("paused"); }
    else follow();
  });
  addEventListener("scroll", () => {
    if (innerHeight + scrollY > document.documentElement.scrollHeight - 120) $(".kh-below")?.remove();
  }, { passive: true });
  follow();
}
document.addEventListener("click", async event => {
  const link = event.target.closest?.("a[data-earlier]");
  if (!link || event.metaKey || event.ctrlKey) return;
  event.preventDefault();
  const answer = await part(link.href);
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  const first = line.firstElementChild, height = document.documentElement.scrollHeight;
  const known = new Set(all("[id]", line).map(row => row.id));
  for (const row of [...$("[data-stream]", fresh).children]) if (!known.has(row.id)) line.insertBefore(row, first);
  const next = $("a[data-earlier]", fresh);
  if (next) link.href = next.getAttribute("href"); else link.remove();
  scrollBy(0, document.documentElement.scrollHeight - height);
});
for (const box of all("[data-show-only]")) box.addEventListener("change", () => {
  const wantedGroups = all("[data-show-only]:checked").map(input => input.value);
  line.classList.toggle("kh-compact", Boolean($("[data-compact]")?.checked));
  for (const row of all("[data-group]", line))
    row.hidden = wantedGroups.length > 0 && !wantedGroups.includes(row.dataset.group) && !(wantedGroups.includes("errors") && "bad" in row.dataset);
});
$("[data-compact]")?.addEventListener("change", event => line.classList.toggle("kh-compact", event.target.checked));

/* ---- payloads, when somebody opens them ---- */
document.addEventListener("toggle", async event => {
  const box = event.target;
  if (!box.open || !box.dataset?.payload || box.dataset.loaded) return;
  box.dataset.loaded = "yes";
  const answer = await part(box.dataset.payload).catch(() => null);
  if (answer?.ok) $(".kh-payload", box).innerHTML = await answer.text(); else delete box.dataset.loaded;
}, true);
function unfold() {
  const there = location.hash.startsWith("#ev-") && document.getElementById(location.hash.slice(1));
  if (there) { $("details", there).open = true; there.scrollIntoView({ block: "center" }); }
}
addEventListener("hashchange", unfold);
unfold();

/* ---- ages that grow ---- */
function words(seconds) {
  for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"]])
    if (seconds >= size) return `${Math.floor(seconds / size)} ${unit}`;
  return `${Math.max(Math.floor(seconds), 0)} s`;
}
function tick() {
  for (const time of all("time[data-ago]")) {
    const seconds = (Date.now() - Date.parse(time.dateTime)) / 1000;
    const text = seconds >= 0 ? `${words(seconds)} ago` : `in ${words(-seconds)}`;
    if (time.textContent !== text) time.textContent = text;
  }
}
setInterval(tick, 5000);

/* ---- deciding ---- */
$(".kh-desk .kh-chosen")?.scrollIntoView({ block: "nearest", inline: "start" });
const form = $("form[data-decide]");
const approve = form && $("[data-approve]", form), deny = form && $("[data-deny]", form);
const reason = form && $("[data-reason]", form), text = form && $("[data-arguments]", form);
let armed = null;
function arm(button) {
  armed = button;
  for (const other of [approve, deny]) other?.classList.toggle("kh-armed", other === button);
}
reason?.addEventListener("keydown", event => {
  if (event.key !== "Enter" || event.isComposing) return;
  event.preventDefault();
  armed?.click();
});
if (text && approve) {
  const plain = text.value, label = $("[data-label]", approve), before = label.textContent;
  const here = $("[data-diff-here]", form), reviewed = $("[data-reviewed]", form);
  const unedited = all("[data-unedited]", form);  // verbs for the call as it is shown
  let asked = 0;
  const judge = async () => {
    const mine = ++asked;
    const body = new FormData();
    body.set("arguments", text.value);
    body.set("csrfmiddlewaretoken", $("[name=csrfmiddlewaretoken]", form).value);
    const answer = await part(text.dataset.diff, { method: "POST", body }).catch(() => null);
    if (mine !== asked) return;
    const told = answer?.ok ? await answer.json() : { html: "", problem: "The difference could not be made. Try again." };
    here.innerHTML = told.html;
    if (told.problem) {
      const line = document.createElement("p");
      line.className = "kh-error";
      line.setAttribute("role", "alert");
      line.textContent = told.problem;
      here.append(line);
    }
    reviewed.value = told.mark || "";
    const edited = !told.same;
    approve.value = edited ? "edit" : "allow";
    label.textContent = edited ? "Approve with edits" : before;
    approve.disabled = Boolean(told.problem);
    for (const other of unedited) other.disabled = edited;
  };
  let typing = 0;
  text.addEventListener("input", () => {
    for (const other of [approve, ...unedited]) other.disabled = true;
    clearTimeout(typing);
    typing = after(250, judge);
  });
  if (text.value !== plain) judge();
}
document.addEventListener("click", event => {
  const button = event.target.closest?.("[data-sure]");
  if (button && !confirm(button.dataset.sure)) event.preventDefault();
});
document.addEventListener("submit", event => {  // one decision, one request
  if (!event.target.matches("[data-decide]")) return;
  if (event.target.dataset.sent) event.preventDefault();
  event.target.dataset.sent = "yes";
});
const course = $("form[data-go-on]");  // a verb on its way through many rows
if (course) after(150, () => course.requestSubmit());
addEventListener("pageshow", () => { if (form) delete form.dataset.sent; });

/* ---- keys ---- */
const keys = $("[data-keys]");
for (const button of all("[data-show-keys]")) { button.hidden = false; button.onclick = () => keys.showModal(); }
const PLACES = { h: "Home", i: "Inbox", r: "Runs", s: "Sessions" };
let going = 0;
function rows() { return all("#result_list tbody tr").length ? all("#result_list tbody tr") : all("#content [data-row]"); }
function move(by) {
  const list = rows();
  if (!list.length) return;
  const chosen = list.findIndex(row => row.contains(document.activeElement) || row.classList.contains("kh-chosen"));
  const next = list[Math.max(0, Math.min(list.length - 1, chosen < 0 ? 0 : chosen + by))];
  if (form || $("[data-pane]")) { if (!next.classList.contains("kh-chosen")) location.assign(next.href); return; }
  const link = next.matches("a") ? next : $("th a, td a", next);
  link?.focus();
  next.scrollIntoView({ block: "nearest" });
}
document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.key === "Escape") { document.activeElement?.blur?.(); for (const menu of all("[data-menu][open]")) menu.open = false; return; }
  if (event.target.closest?.("input:not([type=checkbox], [type=radio]), textarea, select, dialog[open]")) return;
  if (going) {
    clearTimeout(going); going = 0;
    const tab = all(".kh-tabs a").find(link => link.textContent.trim().endsWith(PLACES[event.key] || "\0"));
    if (tab) { event.preventDefault(); location.assign(tab.href); return; }
  }
  const act = {
    g: () => { going = after(1200, () => { going = 0; }); },
    "/": () => $("#kh-search")?.focus(),
    "?": () => keys?.showModal(),
    j: () => move(1),
    k: () => move(-1),
    x: () => document.activeElement?.closest("tr")?.querySelector("input.action-select")?.click(),
    a: () => { if (approve) { arm(approve); approve.focus(); } },
    d: () => { if (deny) { arm(deny); reason.placeholder = "Why not? Enter sends it."; reason.focus(); } },
    e: () => { if (text) { text.closest("details").open = true; text.focus(); } },
  }[event.key];
  if (act) { event.preventDefault(); act(); }
});
document.addEventListener("click", event => {
  for (const menu of all("[data-menu][open]")) if (!menu.contains(event.target)) menu.open = false;
  const copy = event.target.closest?.("[data-copy]");
  if (copy) navigator.clipboard?.writeText(copy.dataset.copy).then(() => {
    const before = copy.textContent;
    copy.textContent = "Copied";
    after(1200, () => { copy.textContent = before; });
  });
});
