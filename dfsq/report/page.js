
"use strict";
// Sorts tables, and lays the versions of an image over each other. Without it the page shows everything, side by side.

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function sortable(table) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const compare = new Intl.Collator(undefined, { numeric: true }).compare;
  const value = (row, index) => row.cells[index].dataset.value;
  heads.forEach((head, index) => {
    const numeric = head.classList.contains("number");
    const button = element("button", { type: "button" });
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.ariaSort ? head.ariaSort === "ascending" : numeric;
      heads.forEach((each) => { each.ariaSort = null; });
      head.ariaSort = down ? "descending" : "ascending";
      const rows = [...body.rows].sort((a, b) => {
        if (!numeric) return compare(a.cells[index].textContent, b.cells[index].textContent) * (down ? -1 : 1);
        const [x, y] = [value(a, index), value(b, index)];
        if (x === undefined || y === undefined) return (x === undefined) - (y === undefined); // none comes last
        return Number(x) === Number(y) ? 0 : (Number(x) < Number(y)) === down ? 1 : -1;
      });
      body.append(...rows);
    });
  });
}

const VIEWS = {
  images: { label: "Images", key: "i", pair: ["before", "after"] },
  errors: { label: "Errors", key: "e", pair: ["error-before", "error-after"], scale: "error" },
  change: { label: "Change", key: "c", pair: ["change"], scale: "change" },
  hr: { label: "HR", key: "h", pair: ["hr"] },
};
const ZOOMS = [0.5, 1, 2, 3, 4, 6, 8];

function viewer(root) {
  const shots = [...root.querySelectorAll(".shot")];
  const state = { shot: 0, view: "images", split: 0.5, whole: null, zoom: 1 };
  const controls = {
    shots: shots.map((shot, index) => button(shot.querySelector("h3").textContent, () => choose(index))),
    views: Object.entries(VIEWS).map(([name, view]) => [name, button(view.label, () => set({ view: name }), view.key)]),
    flip: button("Flip", flip, "f"),
    range: element("input", { type: "range", min: 0, max: 100, value: 50, ariaLabel: "Before or after" }),
    zoom: element("output", { ariaLabel: "Zoom" }),
  };
  const frames = shots.map(frame);
  controls.range.addEventListener("input", () => set({ split: controls.range.value / 100, whole: null }));
  const bar = (label, ...children) => element("div", { className: "bar", role: "toolbar", ariaLabel: label }, ...children);
  root.prepend(
    ...(shots.length > 1 ? [bar("Image", ...controls.shots)] : []),
    bar(
      "View", ...controls.views.map(([, each]) => each), controls.flip, button("−", () => zoom(-1), "-"), controls.zoom,
      button("+", () => zoom(1), "+"), controls.range,
    ),
  );
  root.append(element("p", {
    className: "note keys",
    textContent: "Keys: F flips between before and after, ← and → move the slider, + and − zoom, "
      + "I images, E errors, C change, H HR" + (shots.length > 1 ? ", N next image." : "."),
  }));
  root.classList.add("live");
  root.classList.toggle("several", shots.length > 1);
  choose(0);
  new ResizeObserver(draw).observe(root);
  document.addEventListener("keydown", pressed);

  function button(label, action, key) {
    const made = element("button", { type: "button", textContent: label, title: key ? `Key ${key.toUpperCase()}` : "" });
    if (key) made.setAttribute("aria-keyshortcuts", key);
    made.addEventListener("click", action);
    return made;
  }

  function frame(shot) {
    const found = shot.querySelector(".frame");
    const stage = shot.querySelector(".stage");
    const handle = element("div", { className: "handle" });
    const tags = ["left", "right"].map((side) => element("div", { className: `tag ${side}` }));
    found.append(handle, ...tags);
    stage.tabIndex = 0;
    stage.setAttribute("role", "group");
    stage.ariaLabel = `${shot.querySelector("h3").textContent}: F flips, arrows move the slider, + and − zoom`;
    const move = (event) => {
      const box = stage.getBoundingClientRect();
      set({ split: (event.clientX - box.left) / stage.clientWidth, whole: null });
    };
    for (const [target, kinds] of [[stage, ["mouse", "pen"]], [handle, ["mouse", "pen", "touch"]]]) {
      target.addEventListener("pointerdown", (event) => {
        const box = stage.getBoundingClientRect();
        const onBar = event.clientX - box.left >= stage.clientWidth || event.clientY - box.top >= stage.clientHeight;
        if (!kinds.includes(event.pointerType) || event.button !== 0 || onBar) return;
        target.setPointerCapture(event.pointerId);
        move(event);
      });
      target.addEventListener("pointermove", (event) => {
        if (target.hasPointerCapture(event.pointerId)) move(event);
      });
    }
    stage.addEventListener("scroll", draw);
    return { stage, handle, tags };
  }

  function set(changes) {
    Object.assign(state, changes);
    state.split = Math.min(1, Math.max(0, state.split));
    draw();
  }

  function choose(index) {
    const { width, height } = shots[index].dataset;
    const fits = (factor) => width * factor <= root.clientWidth && height * factor <= 0.8 * innerHeight;
    set({ shot: index, zoom: ZOOMS.filter((factor) => factor <= 4 && fits(factor)).pop() ?? 1, whole: null });
    if (state.zoom < 1) set({ zoom: 1 }); // at full size first
  }

  function zoom(step) {
    const { stage } = frames[state.shot];
    const centre = ["Left", "Top"].map((side, axis) => {
      const shown = axis ? stage.clientHeight : stage.clientWidth;
      return (stage[`scroll${side}`] + shown / 2) / state.zoom;
    });
    const place = ZOOMS.indexOf(state.zoom) + step;
    set({ zoom: ZOOMS[Math.min(ZOOMS.length - 1, Math.max(0, place))] });
    stage.scrollLeft = centre[0] * state.zoom - stage.clientWidth / 2;
    stage.scrollTop = centre[1] * state.zoom - stage.clientHeight / 2;
  }

  function flip() {
    set({ whole: state.whole === "after" ? "before" : "after" });
  }

  function pressed(event) {
    const within = event.target instanceof Element && event.target;
    const typing = within && within !== controls.range && within.matches("input, select, textarea");
    if (event.ctrlKey || event.metaKey || event.altKey || typing || event.defaultPrevented) return;
    const inside = root.contains(within || null);
    const key = event.key.toLowerCase();
    const view = Object.keys(VIEWS).find((name) => VIEWS[name].key === key);
    const step = { arrowleft: -0.05, arrowright: 0.05 }[key];
    if (key === "f") flip();
    else if (key === "+" || key === "=") zoom(1);
    else if (key === "-") zoom(-1);
    else if (key === "n" && shots.length > 1) choose((state.shot + 1) % shots.length);
    else if (view) set({ view });
    else if (step && inside) set({ split: state.split + step, whole: null });
    else return;
    event.preventDefault();
  }

  function draw() {
    const shot = shots[state.shot];
    const { stage, handle, tags } = frames[state.shot];
    const { pair, scale } = VIEWS[state.view];
    const split = pair.length === 1 || state.whole === "before" ? 1 : state.whole === "after" ? 0 : state.split;
    shots.forEach((each, index) => each.classList.toggle("current", index === state.shot));
    root.classList.toggle("single", pair.length === 1 || state.whole !== null);
    shot.style.setProperty("--width", shot.dataset.width);
    shot.style.setProperty("--height", shot.dataset.height);
    shot.style.setProperty("--zoom", state.zoom);
    for (const version of shot.querySelectorAll(".version")) {
      version.classList.toggle("below", version.classList.contains(pair[0]));
      version.classList.toggle("above", pair.length > 1 && version.classList.contains(pair[1]));
    }
    const x = split * stage.clientWidth;
    shot.style.setProperty("--cut", `${stage.scrollLeft + x}px`);
    handle.parentElement.style.setProperty("--split", `${x}px`);
    const caption = (kind) => shot.querySelector(`.version.${kind} figcaption`).textContent;
    tags[0].textContent = split > 0 ? caption(pair[0]) : "";
    tags[1].textContent = split < 1 ? caption(pair[1]) : "";
    for (const each of shot.querySelectorAll(".scale")) each.classList.toggle("shown", each.classList.contains(`scale-${scale}`));
    controls.shots.forEach((each, index) => { each.ariaPressed = index === state.shot; });
    controls.views.forEach(([name, each]) => { each.ariaPressed = name === state.view; });
    controls.flip.disabled = controls.range.disabled = pair.length === 1;
    controls.range.value = 100 * split;
    controls.zoom.value = `${state.zoom}×`;
  }
}

document.querySelectorAll("table.sortable").forEach(sortable);
document.querySelectorAll(".viewer").forEach(viewer);
