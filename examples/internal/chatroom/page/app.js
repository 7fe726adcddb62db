"use strict";
const $ = (id) => document.getElementById(id);
const maxFile = 512 * 1024;
const params = new URLSearchParams(location.search);

const me = { name: params.get("name") || localStorage.name || "", room: params.get("room") || "lobby", id: "", node: "" };
const rooms = new Set(["lobby", "random", me.room]);
const mine = new Map(); // messages of this page by id: {tick, by}
let wasConnected = false;

const socket = io({
  autoConnect: false,
  transports: params.get("transports")?.split(","),
  reconnectionDelay: 500,
});
const map = new ClusterMap($("map"), color);

// --- what is on the page; texts of others are never HTML ---

function color(name) {
  let h = 0;
  for (const c of name.toLowerCase()) h = (h * 31 + c.codePointAt(0)) % 997;
  return `hsl(${(h * 137.5) % 360} 52% 46%)`; // the golden angle keeps neighbors apart
}

function el(tag, attributes = {}, ...children) {
  const e = Object.assign(document.createElement(tag), attributes);
  e.append(...children);
  return e;
}

function face(name) {
  const letters = [...name.trim()].slice(0, 1).join("").toUpperCase();
  const f = el("span", { className: "face", title: name }, letters);
  f.style.background = color(name);
  f.setAttribute("aria-hidden", "true");
  return f;
}

function append(li) {
  const log = $("log");
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 120;
  log.append(li);
  while (log.children.length > 500) log.firstChild.remove();
  if (atEnd || li.classList.contains("mine")) log.scrollTop = log.scrollHeight;
  return li;
}

const notice = (text, kind = "") => append(el("li", { className: "notice " + kind }, text));

const clock = (at) => new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });

// content is the bubble of a message: text, an image, or a file to download.
function content({ text, file }) {
  const bubble = el("div", { className: "bubble" });
  if (!file) {
    bubble.textContent = text;
    return bubble;
  }
  const url = URL.createObjectURL(new Blob([file.data], { type: file.type }));
  if (/^image\/(png|jpeg|gif|webp)$/.test(file.type)) {
    const img = el("img", { src: url, alt: file.name });
    img.onload = () => ($("log").scrollTop = $("log").scrollHeight);
    bubble.append(img);
  }
  bubble.append(el("a", { href: url, download: file.name }, `${file.name} (${Math.ceil(file.data.byteLength / 1024)} KiB)`));
  return bubble;
}

function show(message, own) {
  const who = el("div", { className: "who" });
  if (!own) who.append(el("b", {}, message.from.name), " ");
  who.append(clock(message.at));
  if (!own && message.from.node && message.from.node !== me.node) who.append(" · via " + message.from.node);
  const li = el("li", { className: own ? "mine" : "" }, face(message.from.name), el("div", {}, who, content(message)));
  append(li);
  return { li, who };
}

function drawRooms() {
  $("rooms").replaceChildren(...[...rooms].map((name) => {
    const b = el("button", { textContent: name, onclick: () => enter(name) });
    b.setAttribute("aria-current", name === me.room);
    return el("li", {}, b);
  }));
}

function state(kind, text) {
  $("state").dataset.state = kind;
  $("state").textContent = text;
  $("submit").disabled = kind !== "connected";
}

function transport() {
  $("transport").textContent = socket.io.engine?.transport?.name ?? "–";
}

// --- rooms ---

async function enter(room) {
  const entered = await socket.timeout(10000).emitWithAck("enter", { room, name: me.name, map: true }).catch(() => null);
  if (!entered) return void (socket.connected && enter(room)); // without a connection, the next one does it
  if (entered.error) return notice(entered.error, "bad");
  if (room !== me.room) {
    $("log").replaceChildren();
    $("typing").textContent = "";
  }
  Object.assign(me, entered.ok);
  rooms.add(room);
  $("node").textContent = me.node;
  drawRooms();
  if (entered.ok.cluster && $("map").hidden) {
    document.body.classList.add("cluster");
    map.show();
  }
  people();
  refresh();
}

// refresh asks who is where; the map needs all rooms.
let refreshing;
function refresh() {
  clearTimeout(refreshing);
  refreshing = setTimeout(async () => {
    if ($("map").hidden || !socket.connected) return;
    const all = await socket.timeout(5000).emitWithAck("who").catch(() => null);
    if (all) map.update(all, socket.id);
  }, 150);
}

// --- who is here: a list, and then what changes ---

let here = new Map(); // by key: {name, node, id}
let news = null; // changes that came while a list was on its way

async function people() {
  const mine = (news = []);
  const began = performance.now();
  const list = await socket.timeout(5000).emitWithAck("people").catch(() => null);
  if (mine !== news) return; // there is a newer one
  news = null;
  if (!list) return;
  $("rtt").textContent = (performance.now() - began).toFixed(1) + " ms";
  here = new Map(list.map(({ key, meta }) => [key, meta]));
  mine.forEach(change);
  drawPeople();
}

function change({ type, key, meta }) {
  if (type === "leave") here.delete(key);
  else here.set(key, meta); // of somebody's newest window
}

function drawPeople() {
  const list = [...here].sort(([, a], [, b]) => a.name.localeCompare(b.name));
  $("count").textContent = list.length;
  $("people").replaceChildren(...list.map(([key, m]) =>
    el("li", { title: m.node }, face(m.name), el("b", {}, m.name + (key === me.name.trim().toLowerCase() ? " (you)" : "")), el("small", {}, m.node))));
}

socket.on("presence", (e) => {
  if (e.room === "room:" + me.room) {
    news?.push(e);
    change(e);
    drawPeople();
  }
  refresh(); // of the map, which shows all rooms
});
socket.on("hop", (h) => map.hop(h));

// --- messages ---

socket.on("message", (message) => {
  show(message, false);
  $("typing").textContent = "";
  socket.emit("seen", { message: message.id, sender: message.from.id });
});

socket.on("seen", ({ message, by }) => {
  const m = mine.get(message);
  if (!m) return;
  m.by.add(by);
  m.tick.textContent = "✓✓";
  m.tick.classList.add("seen");
  m.tick.title = "seen by " + [...m.by].join(", ");
});

// deliver sends one message and shows how far it has come: ✓ the server has it,
// ✓✓ somebody has seen it.
async function deliver(event, body, shown) {
  const { li, who } = show({ from: me, at: Date.now(), ...shown }, true);
  const tick = el("span", { className: "ticks", textContent: "…" });
  who.append(" ", tick);
  const answer = await socket.timeout(15000).emitWithAck(event, body).catch((e) => ({ error: e.message }));
  if (answer.error) {
    li.classList.add("failed");
    tick.textContent = answer.error;
    return;
  }
  tick.textContent = "✓";
  tick.title = "delivered to " + me.node;
  mine.set(answer.ok.id, { tick, by: new Set() });
}

$("send").onsubmit = (e) => {
  e.preventDefault();
  const text = $("text").value.trim();
  if (!text || $("submit").disabled) return;
  $("text").value = "";
  deliver("say", text, { text });
};

$("file").onchange = async () => {
  const [file] = $("file").files;
  $("file").value = "";
  if (!file) return;
  if (file.size > maxFile) return notice("a file has at most 512 KiB", "bad");
  const data = await file.arrayBuffer();
  deliver("file", { name: file.name.slice(-200), data }, { file: { name: file.name, type: file.type, data } });
};

let typed = 0;
$("text").oninput = () => {
  if (Date.now() - typed < 1500) return;
  typed = Date.now();
  socket.volatile.emit("typing");
};
let hush;
socket.on("typing", ({ name }) => {
  $("typing").textContent = name + " is typing…";
  clearTimeout(hush);
  hush = setTimeout(() => ($("typing").textContent = ""), 2500);
});

$("new-room").onsubmit = (e) => {
  e.preventDefault();
  const room = $("room-name").value.trim();
  $("room-name").value = "";
  if (room) enter(room);
};

// --- the connection ---

socket.on("connect", async () => {
  state("connected", "connected");
  transport();
  const before = me.node;
  if (wasConnected && socket.recovered) {
    me.node = await socket.timeout(5000).emitWithAck("here").catch(() => me.node);
    $("node").textContent = me.node;
    notice(before === me.node ? "back again, nothing was missed" : `back on ${me.node}, nothing was missed`, "good");
    people();
    refresh();
    return;
  }
  if (wasConnected) notice("back with a new session: messages may have been missed", "bad");
  wasConnected = true;
  me.id = socket.id;
  enter(me.room);
});
socket.on("disconnect", (reason) => {
  state("lost", "reconnecting");
  $("transport").textContent = $("rtt").textContent = "–";
  notice(`connection lost (${reason}), reconnecting`);
});
socket.on("connect_error", () => state("lost", "reconnecting"));
socket.io.on("open", () => {
  transport();
  socket.io.engine.on("upgrade", transport);
});

// Changes of the lists may get lost on their way, and the round trip changes too.
setInterval(() => {
  if (!socket.connected || !me.node) return;
  people();
  refresh();
}, 2000);

// --- the beginning ---

drawRooms();
function begin() {
  localStorage.name = me.name;
  socket.connect();
  $("text").focus();
}
if (params.get("name")) {
  begin();
} else {
  $("name").value = me.name;
  $("welcome").showModal();
  $("welcome").addEventListener("cancel", (e) => e.preventDefault());
  $("welcome-form").onsubmit = () => {
    me.name = $("name").value.trim() || "somebody";
    begin();
  };
}
