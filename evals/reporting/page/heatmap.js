"use strict";
(function () {
  // A row a system, a column a photo. Texts of records are untrusted: they are only ever set as text.
  var data = JSON.parse(document.getElementById("data").textContent);
  var canvas = document.getElementById("heat");
  if (!data.photos || !canvas) { return; }
  var BANDS_KM = [1, 25, 200, 750, 2500, Infinity], ROW = 20, LEAST = 2, WIDEST = 28, MOST = 3000;
  var byId = function (id) { return document.getElementById(id); };
  var state = { order: [], width: 0, at: null };

  function band(answer) {
    if (!answer || answer.km === null) { return 6; }
    for (var i = 0; i < 6; i++) { if (answer.km <= BANDS_KM[i]) { return i; } }
    return 6;
  }
  function points(answer) { return answer && answer.km !== null ? Math.exp(-answer.km / 1492.7) : 0; }
  function code(n) { return (n >= 26 ? code(Math.floor(n / 26) - 1) : "") + String.fromCharCode(65 + n % 26); }
  function colour(name) { return getComputedStyle(document.documentElement).getPropertyValue(name).trim(); }
  function item(className, text) {
    var made = document.createElement("li"), mark = document.createElement("i");
    mark.className = className;
    made.append(mark, text);
    return made;
  }

  data.systems.forEach(function (system, k) {
    var option = document.createElement("option");
    option.value = k;
    option.textContent = code(k) + " " + system.label;
    byId("heat-system").append(option);
    var row = document.createElement("span");
    row.textContent = code(k);
    row.title = system.label;
    byId("heat-rows").append(row);
  });
  [0, 1, 2, 3, 4, 5, 6].forEach(function (i) {
    byId("heat-bands").append(item("band" + i, i === 6 ? "no answer" : i === 5 ? "beyond 2500 km" : "within " + BANDS_KM[i] + " km"));
  });

  function key(i) {
    var own = data.answers.map(function (of) { return points(of[i]); });
    var how = byId("heat-order").value, sum = own.reduce(function (a, b) { return a + b; }, 0);
    if (how === "own") { return own[Number(byId("heat-system").value)]; }
    if (how === "apart") { return Math.max.apply(null, own) - Math.min.apply(null, own); }
    return sum / own.length;
  }
  function sort() {
    var order = data.photos.map(function (_, i) { return i; });
    if (byId("heat-order").value !== "name") {
      var keys = order.map(key);
      order.sort(function (a, b) { return keys[b] - keys[a] || a - b; });
    }
    var step = Math.ceil(order.length / MOST);
    state.order = step === 1 ? order : order.filter(function (_, n) { return n % step === 0; });
    state.step = step;
    state.at = null;
    byId("heat-system").disabled = byId("heat-order").value !== "own";
    draw();
    say();
  }
  function draw() {
    var columns = state.order.length, rows = data.systems.length, room = byId("heat-scroll").clientWidth;
    state.width = Math.max(LEAST, Math.min(WIDEST, room / columns));
    var width = Math.ceil(state.width * columns), ratio = Math.min(window.devicePixelRatio || 1, 16000 / width);
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(rows * ROW * ratio);
    canvas.style.width = width + "px";
    canvas.style.height = rows * ROW + "px";
    var pen = canvas.getContext("2d"), gap = state.width > 6 ? 1 : 0;
    var colours = [0, 1, 2, 3, 4, 5].map(function (i) { return colour("--e" + i); }), none = colour("--none");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, rows * ROW);
    data.answers.forEach(function (own, k) {
      state.order.forEach(function (i, n) {
        var of = band(own[i]), x = n * state.width, y = k * ROW;
        if (of < 6) {
          pen.fillStyle = colours[of];
          pen.fillRect(x, y, state.width - gap, ROW - 1);
        } else if (gap) {
          pen.strokeStyle = none;
          pen.strokeRect(x + 0.5, y + 0.5, state.width - gap - 1, ROW - 2);
        } else {
          pen.fillStyle = none;
          pen.fillRect(x, y + ROW / 2 - 1, state.width, 1);
        }
      });
    });
    if (state.at) {
      pen.strokeStyle = colour("--ink");
      pen.lineWidth = 2;
      pen.strokeRect(state.at.n * state.width, state.at.k * ROW, Math.max(4, state.width), ROW - 1);
      pen.lineWidth = 1;
    }
  }
  function say() {
    var thin = state.step > 1 ? "Every " + state.step + "th photo is drawn. " : "";
    if (!state.at) { byId("heat-said").textContent = thin || "\u00a0"; return; }
    var i = state.order[state.at.n], answer = data.answers[state.at.k][i], off = "not run";
    if (answer) { off = answer.km === null ? answer.status : (answer.km >= 10 ? Math.round(answer.km).toLocaleString("en") : answer.km.toFixed(1)) + " km off"; }
    byId("heat-said").textContent = thin + data.photos[i].id + " · " + code(state.at.k) + " " + data.systems[state.at.k].label + " · " + off;
  }
  function move(n, k) {
    var rows = data.systems.length, columns = state.order.length;
    state.at = { n: Math.max(0, Math.min(columns - 1, n)), k: Math.max(0, Math.min(rows - 1, k)) };
    draw();
    say();
  }
  function under(event) {
    var box = canvas.getBoundingClientRect();
    return [Math.floor((event.clientX - box.left) / state.width), Math.floor((event.clientY - box.top) / ROW)];
  }
  function open() {
    if (!state.at) { return; }
    var detail = { photo: state.order[state.at.n], system: state.at.k };
    document.dispatchEvent(new CustomEvent("show-photo", { detail: detail }));
  }
  canvas.addEventListener("mousemove", function (event) { move.apply(null, under(event)); });
  canvas.addEventListener("click", function (event) { move.apply(null, under(event)); open(); });
  canvas.addEventListener("keydown", function (event) {
    var steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }, step = steps[event.key];
    if (event.key === "Enter") { open(); }
    if (!step) { return; }
    event.preventDefault();
    move((state.at ? state.at.n : 0) + step[0], (state.at ? state.at.k : 0) + step[1]);
  });
  byId("heat-order").addEventListener("change", sort);
  byId("heat-system").addEventListener("change", sort);
  window.addEventListener("resize", draw);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  sort();
})();
