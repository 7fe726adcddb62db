// The map of a cluster: its nodes around Redis, their sockets, and messages on
// their way from one node to the others.
window.ClusterMap = class {
  constructor(section, color) {
    this.section = section;
    this.svg = section.querySelector("svg");
    this.list = section.querySelector("#nodes");
    this.color = color;
    this.nodes = []; // {name, alive}
    this.members = [];
    this.still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  }

  show() {
    this.section.hidden = false;
    this.poll();
    setInterval(() => this.poll(), 2000);
  }

  async poll() {
    try {
      const nodes = await (await fetch("nodes", { cache: "no-store" })).json();
      if (JSON.stringify(nodes) === JSON.stringify(this.nodes)) return;
      this.nodes = nodes;
      this.draw();
      this.buttons();
    } catch {
      // The front is away: the last picture stays.
    }
  }

  buttons() {
    this.list.replaceChildren(...this.nodes.map((node) => {
      const li = document.createElement("li");
      const label = document.createElement("span");
      label.textContent = node.name;
      const button = document.createElement("button");
      button.textContent = (node.alive ? "Kill " : "Start ") + node.name;
      button.className = node.alive ? "kill" : "start";
      button.onclick = async () => {
        button.disabled = true;
        await fetch(`nodes/${node.name}/${node.alive ? "kill" : "start"}`, { method: "POST" });
        this.poll();
      };
      li.append(button);
      return li;
    }));
  }

  update(members, self) {
    if (JSON.stringify([members, self]) === JSON.stringify([this.members, this.self])) return;
    this.members = members;
    this.self = self;
    this.draw();
  }

  make(tag, attributes, parent = this.svg) {
    const el = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [key, value] of Object.entries(attributes)) el.setAttribute(key, value);
    parent.append(el);
    return el;
  }

  place(i) {
    return { x: (720 * (i + 1)) / (this.nodes.length + 1), y: 128 };
  }

  draw() {
    this.svg.replaceChildren();
    const hub = { x: 360, y: 26 };
    this.nodes.forEach((node, i) => {
      const at = this.place(i);
      if (node.alive) this.make("path", { class: "wire", d: `M${hub.x} ${hub.y} Q${(hub.x + at.x) / 2} ${hub.y + 20} ${at.x} ${at.y}`, fill: "none" });
    });
    this.make("rect", { class: "hub", x: hub.x - 34, y: hub.y - 15, width: 68, height: 30, rx: 9 });
    this.make("text", { x: hub.x, y: hub.y + 4 }).textContent = "Redis";
    this.nodes.forEach((node, i) => this.drawNode(node, this.place(i)));
    // What is on its way stays.
    this.hops ??= this.make("g", {});
    this.svg.append(this.hops);
  }

  drawNode(node, at) {
    // Those of a node that was killed are on the lists until its lease ends.
    const here = node.alive ? this.members.filter((m) => m.node === node.name) : [];
    const me = here.some((m) => m.id === this.self);
    const g = this.make("g", { class: (node.alive ? "" : "dead ") + (me ? "me" : "") });
    this.make("circle", { class: "node", cx: at.x, cy: at.y, r: 27 }, g);
    this.make("text", { x: at.x, y: at.y + 1 }, g).textContent = node.name;
    this.make("text", { class: "small", x: at.x, y: at.y + 13 }, g).textContent = node.alive ? `${here.length} here` : "down";
    // Sockets sit on rings around their node.
    const ring = 18;
    here.slice(0, 3 * ring).forEach((m, k) => {
      const r = 38 + 9 * Math.floor(k / ring);
      const turn = (2 * Math.PI * (k % ring)) / Math.min(ring, here.length) - Math.PI / 2;
      const dot = this.make("circle", {
        class: "socket" + (m.id === this.self ? " self" : ""),
        cx: at.x + r * Math.cos(turn), cy: at.y + r * Math.sin(turn), r: m.id === this.self ? 5.5 : 4.5, fill: this.color(m.name),
      }, g);
      this.make("title", {}, dot).textContent = `${m.name} in #${m.room}`;
    });
  }

  // hop shows a message on its way from a node to the nodes that have members of
  // the room.
  hop({ node, room }) {
    if (this.still) return;
    const from = this.nodes.findIndex((n) => n.name === node);
    if (from < 0) return;
    const to = this.nodes.flatMap((n, i) => (n.alive && i !== from && this.members.some((m) => m.node === n.name && m.room === room) ? [i] : []));
    const hub = { x: 360, y: 26 };
    this.fly(this.place(from), hub, () => to.forEach((i) => this.fly(hub, this.place(i))));
  }

  fly(a, b, then) {
    const dot = this.make("circle", { class: "hop", r: 5 }, this.hops);
    const down = a.y < b.y;
    const mid = { x: (a.x + b.x) / 2, y: 46 };
    const start = performance.now();
    const step = (now) => {
      const t = Math.min((now - start) / 420, 1);
      const u = 1 - t;
      dot.setAttribute("cx", u * u * a.x + 2 * u * t * mid.x + t * t * b.x);
      dot.setAttribute("cy", u * u * a.y + 2 * u * t * mid.y + t * t * b.y);
      if (t < 1) return requestAnimationFrame(step);
      dot.remove();
      if (then) then();
      else if (down) this.ring(b);
    };
    requestAnimationFrame(step);
  }

  ring(at) {
    const ring = this.make("circle", { cx: at.x, cy: at.y, r: 27, fill: "none", stroke: "currentColor", opacity: 0.5 }, this.hops);
    ring.animate([{ opacity: 0.5 }, { opacity: 0 }], 500).onfinish = () => ring.remove();
  }
};
