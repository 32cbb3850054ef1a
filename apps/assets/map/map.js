"use strict";
/* Draws the answers in the page's data. Every text arrives ready to show and is placed as text, never as HTML. */
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const isLean = data.leftOut !== undefined;
  const panel = document.getElementById("panel");
  const TURNS = [-360, 0, 360];
  const AMBER = "#ffb020", PINK = "#ff6b9d", CYAN = "#4cc9f0";

  const el = (tag, className, text) => {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const add = (parent, ...children) => { parent.append(...children); return parent; };
  const latLng = ([lon, lat]) => L.latLng(lat, lon);

  /* Equirectangular, with longitudes squeezed so that shapes are true at the answer's latitude. */
  const crs = L.extend({}, L.CRS.EPSG4326, {
    transformation: L.transformation(data.view.squeeze / 180, data.view.squeeze, -1 / 180, 0.5),
    wrapLng: undefined,
    infinite: true,
  });
  const map = L.map("map", {
    crs, zoomSnap: 0.25, zoomDelta: 0.75, minZoom: 0.5, maxZoom: 9, zoomControl: false, attributionControl: false,
    maxBounds: [[-90, data.view.lon - 190], [90, data.view.lon + 190]], maxBoundsViscosity: 0.8,
  });
  L.control.zoom({ position: "topright" }).addTo(map);
  L.control.attribution({ position: "bottomright", prefix: false }).addAttribution(data.attribution).addTo(map);
  L.control.scale({ position: "bottomright", maxWidth: 130, imperial: false }).addTo(map);

  const Ground = L.GridLayer.extend({
    createTile(coords) {
      const tile = document.createElement("canvas");
      const sharp = Math.min(window.devicePixelRatio || 1, 2), side = 256 * sharp;
      tile.width = tile.height = side;
      const context = tile.getContext("2d");
      context.imageSmoothingQuality = "high";
      const scale = crs.scale(coords.z) * sharp;
      const xy = (lon, lat) => {
        const at = crs.transformation.transform(L.point(lon, lat), scale);
        return [at.x - coords.x * side, at.y - coords.y * side];
      };
      for (const picture of this.options.pictures) for (const turn of TURNS) {
        const [x1, y1] = xy(picture.west + turn, picture.north), [x2, y2] = xy(picture.east + turn, picture.south);
        if (x2 > 0 && x1 < side && y2 > 0 && y1 < side) context.drawImage(picture.image, x1, y1, x2 - x1, y2 - y1);
      }
      return tile;
    },
  });

  const loaded = async (picture) => {
    const image = new Image();
    image.src = picture.src;
    await image.decode();
    return { ...picture, image: picture.feather ? feathered(image, picture.feather) : image };
  };
  const feathered = (image, share) => {
    const canvas = document.createElement("canvas");
    const width = canvas.width = image.naturalWidth, height = canvas.height = image.naturalHeight;
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    context.globalCompositeOperation = "destination-in";
    for (const [x, y] of [[width, 0], [0, height]]) {
      const fade = context.createLinearGradient(0, 0, x, y);
      for (const [stop, alpha] of [[0, 0], [share, 1], [1 - share, 1], [1, 0]]) fade.addColorStop(stop, `rgba(0,0,0,${alpha})`);
      context.fillStyle = fade;
      context.fillRect(0, 0, width, height);
    }
    return canvas;
  };

  /* Lines are differences of hundredths of a degree: x, y, dx, dy, dx, dy, … */
  const decoded = (line) => {
    const points = [];
    let lon = 0, lat = 0;
    for (let i = 0; i < line.length; i += 2) points.push(L.latLng((lat += line[i + 1]) / 100, (lon += line[i]) / 100));
    return points;
  };
  const linesRenderer = L.canvas({ padding: 0.4 });
  const drawLines = ({ lines, colour, weight }) =>
    L.polyline(lines.map(decoded), { renderer: linesRenderer, interactive: false, color: colour, weight, smoothFactor: 1 }).addTo(map);

  const drawCity = ({ name, at }) => {
    const icon = L.divIcon({ className: "", html: el("div", "city", name), iconSize: [0, 0] });
    L.marker(latLng(at), { icon, interactive: false, keyboard: false, pane: "cities" }).addTo(map);
  };

  /* Tooltips */
  const tip = (title, lines, claims = []) => {
    const box = add(el("div"), el("b", "", title), ...lines.map((line) => el("div", "dim", line)));
    if (claims.length) box.append(add(el("ul"), ...claims.map((claim) => el("li", claim.against ? "against" : "", claim.text))));
    return box;
  };
  const withTip = (layer, content) => layer.bindTooltip(content, { className: "tip", direction: "top", offset: [0, -8], opacity: 1 });

  /* Marks */
  const pinSvg = () => {
    const make = (tag, attributes) => {
      const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
      for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
      return node;
    };
    const svg = make("svg", { width: 30, height: 40, viewBox: "0 0 30 40", "aria-hidden": "true" });
    const drop = "M15 39 C13 31 2 24 2 14 A13 13 0 0 1 28 14 C28 24 17 31 15 39 Z";
    svg.append(make("path", { d: drop, fill: AMBER, stroke: "#0b1220", "stroke-width": 2 }), make("circle", { cx: 15, cy: 14, r: 5, fill: "#0b1220" }));
    return svg;
  };
  const pin = (at, label) =>
    L.marker(latLng(at), { icon: L.divIcon({ className: "pin", html: pinSvg(), iconSize: [30, 40], iconAnchor: [15, 39], tooltipAnchor: [0, -32] }), zIndexOffset: 1000, alt: label });
  const badge = (at, label, name) =>
    L.marker(latLng(at), { icon: L.divIcon({ className: "mark", html: el("div", "badge", label), iconSize: [22, 22] }), zIndexOffset: 500, alt: name });

  const groups = Object.fromEntries(["heat", "area90", "area50", "within90", "within50", "answer", "alternatives", "candidates", "metadata"].map((name) => [name, L.layerGroup()]));
  for (const [name, group] of Object.entries(groups)) if (!data.hidden.includes(name)) group.addTo(map);
  const sizes = new Map();
  const marks = new Map();

  const area = (rings, style, content) => L.polygon(rings.map((ring) => ring.map(latLng)), { smoothFactor: 0.2, ...style }).bindTooltip(content, { className: "tip", sticky: true, opacity: 1 });
  const drawPhoto = (photo) => {
    for (const group of Object.values(groups)) group.clearLayers();
    marks.clear();
    for (const size of sizes.values()) size.textContent = "";
    photo.heat.forEach(drawHeat);
    for (const disc of photo.discs) {
      const wide = disc.kind === "within90";
      const style = { color: AMBER, weight: 2, dashArray: wide ? "7 7" : null, fillColor: AMBER, fillOpacity: wide ? 0.1 : 0.2 };
      if (disc.rings) groups[disc.kind].addLayer(area(disc.rings, style, tip(disc.title, disc.lines)));
      else if (disc.km < WIDEST_CIRCLE_KM) groups[disc.kind].addLayer(L.circle(latLng(photo.point), { ...style, radius: 1000 * disc.km, interactive: false }));
    }
    for (const candidate of photo.candidates) {
      const dot = L.circleMarker(latLng(candidate.at), { radius: 4.5, color: "#0b1220", weight: 1.2, fillColor: PINK, fillOpacity: 0.9 });
      groups.candidates.addLayer(withTip(dot, tip(candidate.title, candidate.lines)));
    }
    if (photo.metadata) {
      const icon = L.divIcon({ className: "", html: el("div", "claim"), iconSize: [14, 14] });
      groups.metadata.addLayer(withTip(L.marker(latLng(photo.metadata.at), { icon, alt: "metadata" }), tip(photo.metadata.title, photo.metadata.lines)));
    }
    for (const hypothesis of [...photo.hypotheses].reverse()) drawHypothesis(hypothesis);
    if (photo.point) {
      const chosen = photo.hypotheses.find((hypothesis) => hypothesis.chosen);
      const marker = withTip(pin(photo.point, photo.heading), tip(photo.heading, photo.summary, chosen ? chosen.claims : []));
      if (chosen) marks.set(chosen.id, marker);
      groups.answer.addLayer(marker);
    }
  };
  /* Fills lie over one another, so that the narrowest area is the brightest; outlines are layers of their own. */
  const drawHeat = (layer) => {
    const rings = layer.polygons.map((polygon) => polygon.map((ring) => ring.map(latLng)));
    const shape = (style) => L.polygon(rings, { smoothFactor: 0.3, ...style });
    const fill = shape({ stroke: false, fillColor: layer.colour, fillOpacity: 0.36 });
    groups.heat.addLayer(fill.bindTooltip(tip(layer.title, layer.lines), { className: "tip", sticky: true, opacity: 1 }));
    if (!layer.outlined) return;
    const wide = layer.kind === "area90";
    groups[layer.kind].addLayer(shape({ color: "#fff3d6", weight: wide ? 1.2 : 1.6, opacity: 0.9, dashArray: wide ? "6 5" : null, fill: false, interactive: false }));
    if (sizes.has(layer.kind)) sizes.get(layer.kind).textContent = layer.size;
  };
  const drawHypothesis = (hypothesis) => {
    if (hypothesis.chosen) return;
    const marker = withTip(badge(hypothesis.at, hypothesis.label, hypothesis.name), tip(hypothesis.name, hypothesis.lines, hypothesis.claims));
    const style = { color: CYAN, weight: 1.5, fillColor: CYAN, fillOpacity: 0.12, interactive: false, smoothFactor: 0.2 };
    groups.alternatives.addLayer(L.polygon(hypothesis.rings.map((ring) => ring.map(latLng)), style));
    groups.alternatives.addLayer(marker);
    marks.set(hypothesis.id, marker);
  };

  /* Panel */
  const meter = (share) => {
    const bar = el("i");
    bar.style.width = `${Math.max(1, share * 100)}%`;
    return add(el("div", "meter"), bar);
  };
  const chances = (within) => {
    const box = el("div", "chances");
    for (const chance of within) {
      const bar = el("i");
      bar.style.height = `${Math.max(2, chance.share * 100)}%`;
      box.append(add(el("div"), el("b", "", chance.percent), add(el("span", "column"), bar), el("span", "", chance.within)));
    }
    return add(el("div"), el("div", "label", "chance that it lies within"), box);
  };
  const hypothesisRow = (hypothesis) => {
    const row = el("button", `hypothesis${hypothesis.chosen ? " chosen" : ""}${hypothesis.out ? " out" : ""}`);
    row.type = "button";
    add(row, el("span", "badge", hypothesis.label), el("span", "name", hypothesis.name), el("span", "", hypothesis.percent), meter(hypothesis.share));
    row.addEventListener("click", () => show(hypothesis.bounds));
    const hover = (open) => () => { const mark = marks.get(hypothesis.id); if (mark) open ? mark.openTooltip() : mark.closeTooltip(); };
    row.addEventListener("mouseenter", hover(true));
    row.addEventListener("mouseleave", hover(false));
    return row;
  };
  const evidenceCard = (evidence) => {
    const card = add(el("div", "evidence"), el("p", "", evidence.claim), el("div", "from", evidence.source));
    if (evidence.told) card.append(el("div", "told", evidence.told));
    card.title = evidence.details;
    const weights = el("div", "weights");
    for (const weight of evidence.weights) weights.append(el("span", `weight${weight.against ? " against" : ""}`, weight.text));
    if (evidence.weights.length) card.append(weights);
    const light = (on) => () => {
      for (const weight of evidence.weights) {
        const node = marks.get(weight.id) && marks.get(weight.id).getElement();
        if (node) node.classList.toggle(weight.against ? "against" : "for", on);
      }
    };
    card.addEventListener("mouseenter", light(true));
    card.addEventListener("mouseleave", light(false));
    return card;
  };
  const details = (photo) => {
    const box = el("section");
    if (photo.thumbnail) {
      const image = el("img", "photo");
      image.src = photo.thumbnail;
      image.alt = photo.name;
      box.append(image);
    }
    add(box, el("h1", "", photo.heading), el("div", "coordinates", photo.coordinates));
    if (photo.chances.length) box.append(chances(photo.chances));
    else add(box, add(el("div", "row"), el("span", "", photo.confidenceLabel), el("b", "", photo.confidence)), meter(photo.share));
    if (photo.discs.length) {
      const radii = el("div", "radii");
      for (const disc of [...photo.discs].reverse()) radii.append(add(el("div", "", disc.title), el("b", "", disc.size)));
      add(box, radii, el("div", "small", photo.note));
    }
    if (photo.areas) box.append(el("p", "areas", photo.areas));
    box.append(el("p", "reasoning", photo.reasoning));
    if (photo.metadata) box.append(el("p", "small", photo.metadata.lines.join(" ")));
    if (photo.hypotheses.length) add(box, el("h2", "", "Hypotheses"), ...photo.hypotheses.map(hypothesisRow));
    if (photo.evidence.length) add(box, el("h2", "", "Evidence"), ...photo.evidence.map(evidenceCard));
    return add(box, add(el("div", "foot"), ...photo.cost.map((line) => el("div", "small", line)), el("div", "small", photo.versions), el("div", "small", photo.hash)));
  };

  let current = null;
  const body = el("div");
  const select = (photo, row) => {
    drawPhoto(photo);
    body.replaceChildren(details(photo));
    if (current) current.removeAttribute("aria-current");
    if ((current = row)) row.setAttribute("aria-current", "true");
  };
  const miniBars = (within) => {
    const bars = within.map((chance) => {
      const bar = el("i");
      bar.style.height = `${Math.max(6, chance.share * 100)}%`;
      return bar;
    });
    return bars.length ? [add(el("span", "mini"), ...bars)] : [];
  };
  const pickRow = (photo, pick = select) => {
    const row = el("button", "pick");
    row.type = "button";
    const picture = el(photo.thumbnail ? "img" : "span", photo.thumbnail ? "" : "blank");
    if (photo.thumbnail) { picture.src = photo.thumbnail; picture.alt = ""; picture.loading = "lazy"; }
    add(row, picture, add(el("span"), el("div", "name", photo.name), el("div", "place", photo.heading)), add(el("span", "sure", photo.confidence), ...miniBars(photo.chances)));
    row.title = photo.summary.join("\n");
    row.addEventListener("click", () => { pick(photo, row); show(photo.bounds); });
    return row;
  };
  /* Very many photos: of each the data have what the list shows; shapes and reasons are left out. */
  const WIDEST_CIRCLE_KM = 2500, LISTED = 100, CELL_PX = 56;
  const nearLon = (lon) => data.view.lon + ((((lon - data.view.lon + 180) % 360) + 360) % 360) - 180;
  const filledIn = ({ chances, circles, point, ...photo }) => {
    const at = point && [nearLon(point[0]), point[1]];
    return {
      thumbnail: null, heat: [], hypotheses: [], evidence: [], candidates: [], metadata: null, areas: "", reasoning: data.leftOut,
      cost: [], versions: "", hash: "", summary: [photo.confidenceLabel + " " + photo.confidence], ...photo, point: at,
      chances: chances.map(([within, percent, share]) => ({ within, percent, share })),
      discs: circles.map(([share, title, size, km]) => ({ kind: `within${Math.round(100 * share)}`, title, size, km, lines: [] })),
      bounds: at ? [at[0] - 3, at[1] - 2, at[0] + 3, at[1] + 2] : data.view.bounds,
    };
  };
  /* Those near one another on the screen are one mark with their number. */
  const clustersIn = (photos) => {
    const seen = map.getBounds().pad(0.1), cells = new Map();
    for (const photo of photos) {
      if (!photo.point) continue;
      const at = latLng(photo.point);
      if (!seen.contains(at)) continue;
      const { x, y } = map.project(at), cell = `${Math.floor(x / CELL_PX)},${Math.floor(y / CELL_PX)}`;
      if (cells.has(cell)) cells.get(cell).push(photo);
      else cells.set(cell, [photo]);
    }
    return [...cells.values()];
  };
  const clusterMark = (photos, open) => {
    const lats = photos.map((photo) => photo.point[1]), lons = photos.map((photo) => photo.point[0]);
    const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
    const side = Math.round(22 + 7 * Math.log10(photos.length));
    const label = el("div", "cluster", photos.length.toLocaleString("en"));
    label.style.width = label.style.height = label.style.lineHeight = `${side}px`;
    const icon = L.divIcon({ className: "", html: label, iconSize: [side, side] });
    const mark = L.marker([mean(lats), mean(lons)], { icon, zIndexOffset: 1500, alt: `${photos.length} photos` });
    const box = L.latLngBounds([Math.min(...lats), Math.min(...lons)], [Math.max(...lats), Math.max(...lons)]);
    return mark.on("click", () => open(photos, box));
  };
  const manyPhotos = (photos) => {
    const pins = L.layerGroup().addTo(map), list = el("div", "picks"), note = el("div", "small"), find = el("input", "find");
    let wanted = photos, opened = null, chosen = photos[0];
    const pick = (photo, row) => { chosen = photo; select(photo, row); };
    const listed = (clusters) => {
      const shown = opened || [...clusters.flat(), ...wanted.filter((photo) => !photo.point)];
      const first = shown.slice(0, LISTED);
      if (!first.includes(chosen) && shown.includes(chosen)) first.unshift(chosen);
      const rows = first.map((photo) => {
        const row = pickRow(photo, pick);
        if (photo === chosen) current = row;
        return row;
      });
      if (current) current.setAttribute("aria-current", "true");
      list.replaceChildren(...rows);
      const more = shown.length > LISTED ? `; the first ${LISTED} are listed` : "";
      note.textContent = `${shown.length.toLocaleString("en")} photos ${opened ? "at this place" : "in view"}${more}`;
    };
    const redraw = () => {
      const clusters = clustersIn(wanted);
      pins.clearLayers();
      for (const cluster of clusters) {
        if (cluster.length > 1) { pins.addLayer(clusterMark(cluster, open)); continue; }
        const [photo] = cluster;
        const dot = L.circleMarker(latLng(photo.point), { renderer: linesRenderer, radius: 6, color: "#0b1220", weight: 1.5, fillColor: AMBER, fillOpacity: 1 });
        dot.on("click", () => { pick(photo, null); listed(clusters); });
        pins.addLayer(withTip(dot, tip(photo.name, [photo.heading, ...photo.summary])));
      }
      listed(clusters);
    };
    const open = (cluster, box) => {
      if (map.getZoom() < map.getMaxZoom()) { map.fitBounds(box.pad(0.2), { animate: true, padding: [24, 24] }); return; }
      opened = cluster;
      listed([]);
    };
    find.type = "search";
    find.placeholder = "find by file or place";
    find.setAttribute("aria-label", find.placeholder);
    find.addEventListener("input", () => {
      const words = find.value.trim().toLowerCase();
      wanted = photos.filter((photo) => `${photo.name} ${photo.heading}`.toLowerCase().includes(words));
      opened = null;
      redraw();
    });
    map.on("moveend", () => { opened = null; redraw(); });
    panel.append(find, note, list);
    redraw();
    return () => pick(photos[0], list.firstChild);
  };

  const show = ([west, south, east, north]) => map.fitBounds([[south, west], [north, east]], { animate: true, padding: [24, 24] });

  const legend = () => {
    const control = L.control({ position: "bottomleft" });
    control.onAdd = () => {
      const box = add(el("details", "legend"), el("summary", "", "Legend"));
      box.open = window.innerWidth > 820;
      for (const [name, text] of data.legend) {
        const input = el("input");
        input.type = "checkbox";
        input.checked = !data.hidden.includes(name);
        input.addEventListener("change", () => (input.checked ? groups[name].addTo(map) : groups[name].remove()));
        const size = el("span", "size");
        if (name.startsWith("area")) sizes.set(name, size);
        const key = el("span", `key ${name}`);
        if (name === "heat") key.style.background = `linear-gradient(90deg, ${data.ramp.join(", ")})`;
        box.append(add(el("label"), input, key, el("span", "", text), size));
      }
      L.DomEvent.disableClickPropagation(box);
      return box;
    };
    control.addTo(map);
  };

  const fewPhotos = () => {
    const rows = data.photos.map((photo) => pickRow(photo));
    if (rows.length > 1) {
      panel.append(add(el("div", "picks"), ...rows));
      const pins = L.layerGroup().addTo(map);
      data.photos.forEach((photo, index) => {
        if (!photo.point) return;
        const dot = L.circleMarker(latLng(photo.point), { radius: 6, color: "#0b1220", weight: 1.5, fillColor: AMBER, fillOpacity: 1 });
        dot.on("click", () => { select(photo, rows[index]); rows[index].scrollIntoView({ block: "nearest" }); });
        pins.addLayer(withTip(dot, tip(photo.name, [photo.heading, ...photo.summary])));
      });
    }
    panel.append(body);
    select(data.photos[0], rows[0]);
  };

  const start = async () => {
    map.createPane("cities").style.zIndex = 450;
    const [west, south, east, north] = data.view.bounds;
    map.fitBounds([[south, west], [north, east]], { animate: false, padding: [24, 24] });
    const home = map.getZoom();
    const declutter = () => map.getContainer().classList.toggle("far", map.getZoom() < home - 0.5);
    map.on("zoomend", declutter);
    new Ground({ pictures: await Promise.all(data.pictures.map(loaded)), noWrap: true, keepBuffer: 3, updateWhenZooming: false }).addTo(map);
    data.lines.forEach(drawLines);
    /* The names stay clear of one another on an ordinary screen; a small one has the room for a few. */
    data.cities.slice(0, map.getSize().x < 600 ? 8 : undefined).forEach(drawCity);
    legend();
    panel.append(add(el("div", "brand"), el("b", "", "GeoSleuth"), el("span", "", data.subtitle)));
    if (isLean) {
      const begin = manyPhotos(data.photos.map(filledIn));
      panel.append(body);
      begin();
    } else {
      fewPhotos();
    }
    document.documentElement.dataset.ready = "true";
  };
  start();
})();
