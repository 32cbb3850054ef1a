"use strict";
(function () {
  // Every text of a record is untrusted: it is only ever set as text, never as markup.
  var data = JSON.parse(document.getElementById("data").textContent);
  if (!data.photos) { return; }
  var PER_PAGE = 40, BANDS_KM = [1, 25, 200, 750, 2500, Infinity];
  var byId = function (id) { return document.getElementById(id); };
  var state = { page: 0, chosen: null, kept: [] };

  function el(tag, attributes, children) {
    var made = document.createElement(tag);
    Object.keys(attributes || {}).forEach(function (name) { made.setAttribute(name, attributes[name]); });
    (children || []).forEach(function (child) {
      if (child !== null) { made.append(typeof child === "object" ? child : String(child)); }
    });
    return made;
  }
  function band(answer) {
    if (!answer || answer.km === null) { return 6; }
    for (var i = 0; i < 6; i++) { if (answer.km <= BANDS_KM[i]) { return i; } }
    return 6;
  }
  function bandName(i) {
    if (i === 6) { return "no answer"; }
    return i === 5 ? "beyond 2500 km" : "within " + BANDS_KM[i] + " km";
  }
  function km(value) {
    if (value === null) { return "–"; }
    return (value >= 10 ? Math.round(value).toLocaleString("en") : value.toFixed(value >= 0.1 ? 1 : 3)) + " km";
  }
  function square(km2) { return (km2 >= 10 ? Math.round(km2).toLocaleString("en") : km2.toFixed(1)) + " km²"; }
  function percent(value) { return value === null ? "–" : (100 * value).toFixed(1) + " %"; }
  function place(at) {
    if (!at) { return ""; }
    return Math.abs(at[0]).toFixed(4) + "° " + (at[0] < 0 ? "S" : "N") + ", " + Math.abs(at[1]).toFixed(4) + "° " + (at[1] < 0 ? "W" : "E");
  }

  function fill(select, options) {
    options.forEach(function (option) { select.append(el("option", { value: option[0] }, [option[1]])); });
  }
  function count(values) {
    var found = {};
    values.forEach(function (value) { found[value] = (found[value] || 0) + 1; });
    return Object.keys(found).sort().map(function (value) { return [value, value + " (" + found[value] + ")"]; });
  }
  var statuses = [].concat.apply([], data.answers).filter(Boolean).map(function (a) { return a.status; });
  fill(byId("system"), data.systems.map(function (s, i) { return [i, s.label]; }));
  fill(byId("status"), [["", "any"]].concat(count(statuses).map(function (s) { return [s[0], s[0]]; })));
  fill(byId("error"), [["", "any"]].concat([0, 1, 2, 3, 4, 5, 6].map(function (i) { return [i, bandName(i)]; })));
  fill(byId("country"), [["", "any"]].concat(count(data.photos.map(function (p) { return p.country || "none"; }))));
  fill(byId("rival"), [["", "–"]].concat(data.systems.map(function (s, i) { return [i, s.label]; })));
  [0, 1, 2, 3, 4, 5, 6].forEach(function (i) { byId("bands").append(el("li", {}, [el("i", { "class": "band" + i }), bandName(i)])); });

  function keep() {
    var own = data.answers[Number(byId("system").value)], status = byId("status").value, error = byId("error").value;
    var country = byId("country").value, rival = byId("rival").value, name = byId("name").value.toLowerCase();
    var other = rival === "" ? null : data.answers[Number(rival)];
    var kept = [];
    data.photos.forEach(function (photo, i) {
      var answer = own[i];
      if (!answer || (status && answer.status !== status) || (error !== "" && band(answer) !== Number(error))) { return; }
      if (country && (photo.country || "none") !== country) { return; }
      if (name && photo.id.toLowerCase().indexOf(name) < 0) { return; }
      if (other && !(band(answer) <= 1 && other[i] && band(other[i]) > 1)) { return; }
      kept.push(i);
    });
    var order = byId("order").value, far = function (i) { return own[i].km === null ? Infinity : own[i].km; };
    if (order === "worst") { kept.sort(function (a, b) { return far(b) - far(a) || a - b; }); }
    if (order === "best") { kept.sort(function (a, b) { return far(a) - far(b) || a - b; }); }
    if (order === "sure") { kept.sort(function (a, b) { return (own[b].sure || 0) - (own[a].sure || 0) || a - b; }); }
    state.kept = kept;
    state.page = 0;
    var unanswered = kept.filter(function (i) { return own[i].km === null; }).length;
    byId("shown").textContent = kept.length + " of " + data.photos.length + " photos" + (unanswered ? ", " + unanswered + " without an answer (rings)" : "") +
      (other ? ". Kept are photos within 25 km here that the other system does not get within 25 km." : "");
    draw();
    list();
  }

  // The map: an equirectangular canvas; a line that is shorter across the antimeridian goes across it.
  var land = new Path2D(data.land);
  function colour(name) { return getComputedStyle(document.documentElement).getPropertyValue(name).trim(); }
  function draw() {
    var canvas = byId("map"), ratio = window.devicePixelRatio || 1, width = canvas.clientWidth, scale = width / 360;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(width / 2 * ratio);
    var pen = canvas.getContext("2d"), own = data.answers[Number(byId("system").value)];
    pen.setTransform(ratio * scale, 0, 0, ratio * scale, 0, 0);
    pen.fillStyle = colour("--land");
    pen.fill(land, "evenodd");
    var colours = [0, 1, 2, 3, 4, 5].map(function (i) { return colour("--e" + i); }).concat(colour("--none"));
    var many = state.kept.length > 400;
    pen.lineWidth = 0.9 / scale;
    pen.globalAlpha = many ? 0.16 : 0.4;
    state.kept.forEach(function (i) { if (own[i].at) { line(pen, data.photos[i].at, own[i].at, colours[band(own[i])]); } });
    pen.globalAlpha = 1;
    state.kept.forEach(function (i) { dot(pen, data.photos[i].at, colours[band(own[i])], (many ? 2 : 3) / scale, own[i].km === null); });
    if (state.chosen !== null) {
      var answer = own[state.chosen];
      pen.lineWidth = 2 / scale;
      if (answer && answer.at) { line(pen, data.photos[state.chosen].at, answer.at, colour("--ink")); }
      dot(pen, data.photos[state.chosen].at, colour("--ink"), 6 / scale, true);
    }
  }
  function line(pen, from, to, stroke) {
    var x = to[1], turn = x - from[1] > 180 ? -360 : x - from[1] < -180 ? 360 : 0;
    pen.strokeStyle = stroke;
    [0, -turn].forEach(function (shift, i) {
      if (i && !turn) { return; }
      pen.beginPath();
      pen.moveTo(from[1] + 180 + shift, 90 - from[0]);
      pen.lineTo(x + turn + 180 + shift, 90 - to[0]);
      pen.stroke();
    });
  }
  function dot(pen, at, fillStyle, radius, hollow) {
    pen.beginPath();
    pen.arc(at[1] + 180, 90 - at[0], radius, 0, 7);
    pen[hollow ? "strokeStyle" : "fillStyle"] = fillStyle;
    pen[hollow ? "stroke" : "fill"]();
  }
  byId("map").addEventListener("click", function (event) {
    var box = event.target.getBoundingClientRect(), scale = box.width / 360, best = null, nearest = 14;
    state.kept.forEach(function (i) {
      var at = data.photos[i].at;
      var away = Math.hypot((at[1] + 180) * scale - (event.clientX - box.left), (90 - at[0]) * scale - (event.clientY - box.top));
      if (away < nearest) { nearest = away; best = i; }
    });
    if (best !== null) {
      state.page = Math.floor(state.kept.indexOf(best) / PER_PAGE);
      list();
      show(best);
    }
  });

  function thumbnail(photo) {
    return photo.image ? el("img", { src: photo.image, alt: "", loading: "lazy" }) : el("span", { "class": "blank" });
  }
  function list() {
    var own = data.answers[Number(byId("system").value)], pages = Math.max(1, Math.ceil(state.kept.length / PER_PAGE));
    byId("list").replaceChildren.apply(byId("list"), state.kept.slice(state.page * PER_PAGE, (state.page + 1) * PER_PAGE).map(function (i) {
      var photo = data.photos[i], answer = own[i];
      var button = el("button", { type: "button", "data-photo": i, "aria-current": String(i === state.chosen) }, [
        thumbnail(photo), el("span", { "class": "name" }, [photo.id]),
        el("span", { "class": "off" }, [el("i", { "class": "band" + band(answer) }), answer.km === null ? answer.status : km(answer.km)]),
        el("span", { "class": "where" }, [photo.place || place(photo.at)])]);
      button.addEventListener("click", function () { show(i); });
      return el("li", {}, [button]);
    }));
    byId("page").textContent = "page " + (state.page + 1) + " of " + pages;
    byId("back").disabled = state.page === 0;
    byId("next").disabled = state.page + 1 >= pages;
  }
  byId("back").addEventListener("click", function () { state.page -= 1; list(); });
  byId("next").addEventListener("click", function () { state.page += 1; list(); });

  function fact(name, value) { return el("span", {}, [name + " ", el("b", {}, [value])]); }
  function rows(title, head, cells) {
    if (!cells.length) { return null; }
    var body = cells.map(function (row) { return el("tr", {}, row.map(function (cell) { return el("td", {}, [cell]); })); });
    var top = el("tr", {}, head.map(function (cell) { return el("th", {}, [cell]); }));
    return el("details", { open: "" }, [el("summary", {}, [title]), el("div", { "class": "scroll" }, [el("table", {}, [el("thead", {}, [top]), el("tbody", {}, body)])])]);
  }
  function said(index, kind) { return index === null ? null : el("pre", { "class": kind }, [data.texts[index]]); }
  function message(one) {
    var name = one.role + (one.tool ? ", " + one.tool : "");
    return el("div", { "class": "message " + (one.role === "assistant" ? "reply" : "sent") }, [
      el("b", {}, [name]), said(one.text, "said")].concat(one.calls.map(function (call) { return said(call, "call"); })));
  }
  function transcript(calls) {
    return el("details", { "class": "transcript" }, [el("summary", {}, ["Transcript: " + calls.length + (calls.length === 1 ? " call" : " calls") + " of the model"])].concat(calls.map(function (call, n) {
      var used = call.tokens, counted = used.input === undefined ? null : used.input.toLocaleString("en") + " tokens in" + (used.cached ? " (" + used.cached.toLocaleString("en") + " cached)" : "") + ", " + used.output.toLocaleString("en") + " out";
      var facts = [fact("call", n + 1), fact("model", call.model || "–"), counted ? fact("used", counted) : null, call.finish ? fact("finish reason", call.finish) : null,
        call.repeated ? fact("sent again", call.repeated + " earlier messages") : null];
      return el("div", { "class": "exchange" }, [el("div", { "class": "facts small" }, facts)].concat(call.sent.map(message), [
        call.reasoning === null ? null : el("details", {}, [el("summary", {}, ["Reasoning"]), said(call.reasoning, "said")]),
        call.reply ? message(call.reply) : null, call.error ? el("p", { "class": "partial" }, [call.error]) : null]));
    })));
  }
  function answerView(answer, system) {
    if (!answer) { return el("section", { "class": "answer" }, [el("h3", {}, [system.label]), el("p", { "class": "muted" }, ["This system was not run on this photo."])]); }
    var cost = answer.cost, facts = [
      fact("status", answer.status), fact("off by", km(answer.km)), fact("50 % within", km(answer.radii[0])), fact("90 % within", km(answer.radii[1])),
      fact("confidence", percent(answer.confidence)), answer.level ? fact("level", answer.level) : null];
    var stated = answer.chances.map(function (c) { return fact("within " + c[0] + " km", percent(c[1])); });
    answer.areas.forEach(function (area, i) {
      if (area[0] !== null) { stated.push(fact([50, 90][i] + " % area", square(area[0]) + (area[1] === null ? "" : area[1] ? ", holds the truth" : ", does not hold it"))); }
    });
    var spent = cost.model_calls + " model calls, " + cost.tool_calls + " tool calls, " + cost.tokens + " tokens, $" + cost.usd.toFixed(4) + ", " + cost.seconds.toFixed(2) + " s" +
      (answer.excluded ? "; " + answer.excluded + " reference items hidden" : "");
    return el("section", { "class": "answer" }, [
      el("h3", {}, [system.label]), el("div", { "class": "facts" }, facts), stated.length ? el("div", { "class": "facts small" }, stated) : null,
      answer.at ? el("p", {}, [(answer.place ? answer.place + " · " : "") + place(answer.at)]) : null,
      answer.error ? el("p", { "class": "partial" }, [answer.error]) : null,
      answer.reasoning ? el("p", {}, [answer.reasoning]) : null,
      rows("Evidence", ["kind", "claim", "tool", "nats for the answer", "nats told"], answer.evidence.map(function (e) {
        return [e[0], e[1], e[2] || "no tool: opinion", e[3].toFixed(2), e[4] === null ? "–" : e[4].toFixed(2)];
      })),
      rows("Hypotheses", ["name", "probability", "radius", "off by"], answer.hypotheses.map(function (h) { return [h[0], percent(h[3]), km(h[2]), km(h[4])]; })),
      rows("Candidates", ["atlas", "rank", "similarity", "position", "off by"], answer.candidates.map(function (c) { return [c[0], c[1] + 1, c[2], place(c[3]), km(c[4])]; })),
      rows("Satellite tiles", ["tile", "probability", "similarity", "position", "off by"], answer.tiles.map(function (t) { return [t[0], percent(t[2]), t[1], place(t[3]), km(t[4])]; })),
      el("div", { "class": "tiles" }, answer.tiles.filter(function (t) { return t[5]; }).map(function (t) { return el("img", { src: t[5], alt: "tile " + t[0], title: t[0] }); })),
      rows("Models", ["model", "calls", "tokens", "US dollars", "seconds"], answer.costs.map(function (c) { return [c[0], c[1].model_calls, c[1].tokens, c[1].usd.toFixed(4), c[1].seconds.toFixed(2)]; })),
      answer.calls ? transcript(answer.calls) : answer.replies.length ? el("details", {}, [el("summary", {}, ["The model's replies"])].concat(answer.replies.map(function (r) { return el("pre", {}, [r]); }))) : null,
      el("p", { "class": "small" }, [spent + (answer.more ? ". Not shown: " + answer.more + " (see records.jsonl)" : "")])]);
  }
  function show(i) {
    var photo = data.photos[i], strata = Object.keys(photo.strata).map(function (name) { return fact(name, photo.strata[name]); });
    var first = Number(byId("system").value), order = data.systems.map(function (_, k) { return k; }).filter(function (k) { return k !== first; });
    state.chosen = i;
    byId("photo").replaceChildren.apply(byId("photo"), [
      el("div", { "class": "top" }, [photo.image ? el("img", { src: photo.image, alt: "the photo" }) : null, el("div", {}, [
        el("h3", {}, [photo.id]), el("p", {}, ["Taken at " + place(photo.at) + (photo.place ? ", " + photo.place : "")]),
        el("div", { "class": "facts small" }, strata.concat(photo.flags.map(function (f) { return fact("flagged", f); })))])])
    ].concat([first].concat(order).map(function (k) { return answerView(data.answers[k][i], data.systems[k]); })));
    Array.prototype.forEach.call(document.querySelectorAll("#list button"), function (button) {
      button.setAttribute("aria-current", String(Number(button.getAttribute("data-photo")) === i));
    });
    history.replaceState(null, "", "#photo=" + encodeURIComponent(photo.id));
    draw();
    if (window.matchMedia("(max-width: 760px)").matches) { byId("photo").scrollIntoView(); }
  }
  document.addEventListener("show-photo", function (event) {
    byId("system").value = event.detail.system;
    ["status", "error", "country", "rival", "name"].forEach(function (id) { byId(id).value = ""; });
    keep();
    state.page = Math.max(0, Math.floor(state.kept.indexOf(event.detail.photo) / PER_PAGE));
    list();
    show(event.detail.photo);
    var opened = document.querySelector("#photo .transcript");
    if (opened) { opened.open = true; }
    byId("photo").scrollIntoView();
  });
  function fromAddress() {
    if (location.hash.indexOf("#photo=") !== 0) { return; }
    var wanted = decodeURIComponent(location.hash.slice(7));
    data.photos.forEach(function (photo, i) { if (photo.id === wanted) { show(i); } });
  }
  ["system", "status", "error", "country", "rival", "order"].forEach(function (id) { byId(id).addEventListener("change", keep); });
  byId("name").addEventListener("input", keep);
  window.addEventListener("resize", draw);
  window.addEventListener("hashchange", fromAddress);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  keep();
  fromAddress();
})();
