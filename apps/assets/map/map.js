"use strict";
/* A map of answers: the ground, the belief, hypotheses, candidates. Texts and shapes arrive ready to show. */
(() => {
  const { el, add } = window.GeoSleuth;
  const TURNS = [-360, 0, 360];
  const AMBER = "#ffb020", PINK = "#ff6b9d", GREEN = "#7bd88f", CYAN = "#4cc9f0", INK = "#0b1220", OUTLINE = "#fff3d6";
  const LAYERS = ["heat", "area90", "area50", "within90", "within50", "answer", "alternatives", "candidates", "tiles", "metadata"];
  const WIDEST_CIRCLE_KM = 2500;
  const latLng = ([lon, lat]) => L.latLng(lat, lon);

  /* Equirectangular, with longitudes squeezed so that shapes are true at one latitude. */
  const squeezedCrs = (squeeze) => L.extend({}, L.CRS.EPSG4326, {
    transformation: L.transformation(squeeze / 180, squeeze, -1 / 180, 0.5),
    wrapLng: undefined,
    infinite: true,
  });

  /* Draws equirectangular pictures into the map's tiles, row by row where the map is of another projection. */
  const Ground = L.GridLayer.extend({
    createTile(coords) {
      const tile = document.createElement("canvas");
      const sharp = Math.min(window.devicePixelRatio || 1, 2), side = 256 * sharp;
      tile.width = tile.height = side;
      const context = tile.getContext("2d");
      context.imageSmoothingQuality = "high";
      const crs = this._map.options.crs, step = crs.code === "EPSG:4326" ? side : 4 * sharp;
      const lat = (y) => crs.pointToLatLng(L.point(0, (coords.y * side + y) / sharp), coords.z).lat;
      const x = (lon) => crs.latLngToPoint(L.latLng(0, lon), coords.z).x * sharp - coords.x * side;
      for (const picture of this.options.pictures) for (const turn of TURNS) {
        const left = x(picture.west + turn), right = x(picture.east + turn);
        if (right <= 0 || left >= side) continue;
        const scale = picture.image.height / (picture.north - picture.south);
        for (let y = 0; y < side; y += step) {
          const from = (picture.north - lat(y)) * scale, to = (picture.north - lat(y + step)) * scale;
          if (to > 0 && from < picture.image.height) context.drawImage(...strip(picture.image, from, to, left, right - left, y, step));
        }
      }
      return tile;
    },
  });
  /* Arguments of drawImage for rows of an image; those beyond its edges are left out, and so is their place. */
  const strip = (image, from, to, left, width, y, height) => {
    const first = Math.max(0, from), last = Math.min(image.height, to), size = height / (to - from);
    return [image, 0, first, image.width, Math.max(last - first, 0.01), left, y + (first - from) * size, width, (last - first) * size];
  };

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

  const tip = (title, lines, claims = []) => {
    const box = add(el("div"), el("b", "", title), ...lines.map((line) => el("div", "dim", line)));
    if (claims.length) box.append(add(el("ul"), ...claims.map((claim) => el("li", claim.against ? "against" : "", claim.text))));
    return box;
  };
  const withTip = (layer, content) => layer.bindTooltip(content, { className: "tip", direction: "top", offset: [0, -8], opacity: 1 });
  const sticky = (layer, content) => layer.bindTooltip(content, { className: "tip", sticky: true, opacity: 1 });

  /* The tip of a dot goes where the map has room for it: above, below, else beside. */
  const fitTip = (map, dot) => {
    const tooltip = dot.getTooltip(), height = tooltip.getElement().offsetHeight + 12, { y } = map.latLngToContainerPoint(dot.getLatLng());
    const [direction, offset] = y > height ? ["top", [0, -8]] : map.getSize().y - y > height ? ["bottom", [0, 8]] : ["auto", [8, 0]];
    Object.assign(tooltip.options, { direction, offset });
    tooltip.update();
  };

  const pinSvg = () => {
    const make = (tag, attributes) => {
      const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
      for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
      return node;
    };
    const svg = make("svg", { width: 30, height: 40, viewBox: "0 0 30 40", "aria-hidden": "true" });
    const drop = "M15 39 C13 31 2 24 2 14 A13 13 0 0 1 28 14 C28 24 17 31 15 39 Z";
    svg.append(make("path", { d: drop, fill: AMBER, stroke: INK, "stroke-width": 2 }), make("circle", { cx: 15, cy: 14, r: 5, fill: INK }));
    return svg;
  };
  const marker = (at, label, options) => {
    const made = L.marker(latLng(at), { alt: label, ...options });
    return made.on("add", () => made.getElement().setAttribute("aria-label", label));
  };
  const pin = (at, label) =>
    marker(at, label, { icon: L.divIcon({ className: "pin", html: pinSvg(), iconSize: [30, 40], iconAnchor: [15, 39], tooltipAnchor: [0, -32] }), zIndexOffset: 1000 });
  const badge = (at, label, name) =>
    marker(at, `${label}: ${name}`, { icon: L.divIcon({ className: "mark", html: el("div", "badge", label), iconSize: [24, 24] }), zIndexOffset: 500 });

  /* Dots that the keyboard reaches: one stop of Tab, arrow keys go on to the next; focus, Enter and Space open the tip of a dot, Escape closes it. */
  const reachable = (map, dots, names) => {
    let stop = 0;
    const steps = (index) => ({ ArrowRight: index + 1, ArrowDown: index + 1, ArrowLeft: index - 1, ArrowUp: index - 1, Home: 0, End: dots.length - 1 });
    const prepare = (dot, index) => {
      const node = dot.getElement();
      for (const [name, value] of Object.entries({ role: "button", "aria-label": names[index], tabindex: index === stop ? 0 : -1 })) node.setAttribute(name, value);
      node.classList.add("dot");
      node.addEventListener("focus", () => {
        const before = dots[stop].getElement();
        if (before) before.setAttribute("tabindex", -1);
        node.setAttribute("tabindex", 0);
        stop = index;
        if (!map.getBounds().contains(dot.getLatLng())) map.panTo(dot.getLatLng(), { animate: false });
      });
      node.addEventListener("keydown", (event) => {
        const next = dots[(steps(index)[event.key] + dots.length) % dots.length];
        if (next) next.getElement().focus({ preventScroll: true });
        else if (event.key === "Enter" || event.key === " ") dot.openTooltip();
        else if (event.key === "Escape" && dot.isTooltipOpen()) dot.closeTooltip();
        else return;
        event.preventDefault();
        event.stopPropagation();
      });
    };
    dots.forEach((dot, index) => dot.on("add", () => prepare(dot, index)));
  };

  /* Options: squeeze (equirectangular) or none (Web Mercator), lon (the middle), attribution, legend, ramp, hidden, thumbnail (from a candidate's path and title to a promise of its image). */
  const createMap = (container, options) => {
    const crs = options.squeeze ? squeezedCrs(options.squeeze) : L.CRS.EPSG3857;
    const map = L.map(container, {
      crs, zoomSnap: 0.25, zoomDelta: 0.75, minZoom: options.squeeze ? 0.5 : 1, maxZoom: options.squeeze ? 9 : 13,
      zoomControl: false, attributionControl: false, maxBoundsViscosity: 0.8, worldCopyJump: false,
    });
    L.control.zoom({ position: "topright" }).addTo(map);
    L.control.attribution({ position: "bottomright", prefix: false }).addAttribution(options.attribution).addTo(map);
    L.control.scale({ position: "bottomright", maxWidth: 130, imperial: false }).addTo(map);
    map.setMaxBounds([[-90, -190], [90, 190]]);
    map.createPane("cities").style.zIndex = 450;
    const groups = Object.fromEntries(LAYERS.map((name) => [name, L.layerGroup()]));
    for (const [name, group] of Object.entries(groups)) if (!options.hidden.includes(name)) group.addTo(map);
    const marks = new Map(), sizes = new Map();
    const over = L.layerGroup().addTo(map), under = L.layerGroup().addTo(map);
    const renderer = L.canvas({ padding: 0.4 });
    let home = null;
    map.on("resize", () => groups.candidates.eachLayer((dot) => { if (dot.isTooltipOpen()) fitTip(map, dot); }));
    map.on("zoomend", () => map.getContainer().classList.toggle("far", Boolean(home) && map.getZoom() < map.getBoundsZoom(home, false, L.point(48, 48)) - 0.5));

    const show = ([west, south, east, north], animate = true) => {
      map.fitBounds([[south, west], [north, east]], { animate, padding: [24, 24], maxZoom: 11 });
      home = L.latLngBounds([south, west], [north, east]);
    };
    /* The option alone: `setMaxBounds` would begin to move a map that is about to be shown elsewhere. */
    const centreOn = (lon) => { map.options.maxBounds = L.latLngBounds([-90, lon - 190], [90, lon + 190]); };

    /* What is put down first is drawn at once; pictures follow when they are decoded. */
    const setGround = async (ground, shared = []) => {
      const pictures = [...shared, ...(await Promise.all(ground.pictures.map(loaded)))];
      under.clearLayers();
      under.addLayer(new Ground({ pictures, noWrap: true, keepBuffer: 3, updateWhenZooming: false }));
      for (const { lines, colour, weight } of ground.lines)
        under.addLayer(L.polyline(lines.map(decoded), { renderer, interactive: false, color: colour, weight, smoothFactor: 1 }));
      /* The names stay clear of one another on an ordinary screen; a small one has the room for a few. */
      for (const { name, at } of ground.cities.slice(0, map.getSize().x < 600 ? 8 : undefined)) {
        const icon = L.divIcon({ className: "", html: el("div", "city", name), iconSize: [0, 0] });
        under.addLayer(L.marker(latLng(at), { icon, interactive: false, keyboard: false, pane: "cities" }));
      }
    };

    const clear = () => {
      for (const group of Object.values(groups)) group.clearLayers();
      marks.clear();
      for (const size of sizes.values()) size.textContent = "";
    };
    /* Fills lie over one another, so that the narrowest area is the brightest; outlines are layers of their own. */
    const drawHeat = (layer) => {
      const rings = layer.polygons.map((polygon) => polygon.map((ring) => ring.map(latLng)));
      const shape = (style) => L.polygon(rings, { smoothFactor: 0.3, ...style });
      const fill = shape({ stroke: false, fillColor: layer.colour, fillOpacity: 0.36 });
      groups.heat.addLayer(sticky(fill, tip(layer.title, layer.lines)));
      if (!layer.outlined) return;
      const wide = layer.kind === "area90";
      groups[layer.kind].addLayer(shape({ color: OUTLINE, weight: wide ? 1.2 : 1.6, opacity: 0.9, dashArray: wide ? "6 5" : null, fill: false, interactive: false }));
      if (sizes.has(layer.kind)) sizes.get(layer.kind).textContent = layer.size;
    };
    const drawHypothesis = (hypothesis) => {
      if (hypothesis.chosen) return;
      const mark = withTip(badge(hypothesis.at, hypothesis.label, hypothesis.name), tip(hypothesis.name, hypothesis.lines, hypothesis.claims));
      const style = { color: CYAN, weight: 1.5, fillColor: CYAN, fillOpacity: 0.12, interactive: false, smoothFactor: 0.2 };
      groups.alternatives.addLayer(L.polygon(hypothesis.rings.map((ring) => ring.map(latLng)), style));
      groups.alternatives.addLayer(mark);
      marks.set(hypothesis.id, mark);
    };
    const drawDisc = (disc, at) => {
      const wide = disc.kind === "within90";
      const style = { color: AMBER, weight: 2, dashArray: wide ? "7 7" : null, fillColor: AMBER, fillOpacity: wide ? 0.1 : 0.2, smoothFactor: 0.2 };
      if (disc.rings) groups[disc.kind].addLayer(sticky(L.polygon(disc.rings.map((ring) => ring.map(latLng)), style), tip(disc.title, disc.lines)));
      else if (disc.km < WIDEST_CIRCLE_KM) groups[disc.kind].addLayer(L.circle(latLng(at), { ...style, radius: 1000 * disc.km, interactive: false }));
    };
    const drawPhoto = (photo) => {
      clear();
      photo.heat.forEach(drawHeat);
      photo.discs.forEach((disc) => drawDisc(disc, photo.point));
      const dots = photo.candidates.map((candidate) => {
        const dot = L.circleMarker(latLng(candidate.at), { radius: 4.5, color: INK, weight: 1.2, fillColor: PINK, fillOpacity: 0.9 });
        const content = tip(candidate.title, candidate.lines);
        if (candidate.picture && options.thumbnail) dot.once("tooltipopen", () => options.thumbnail(candidate.picture, candidate.title).then((image) => { content.prepend(image); if (dot.isTooltipOpen()) fitTip(map, dot); }).catch(() => {}));
        return withTip(dot, content).on("tooltipopen", () => fitTip(map, dot));
      });
      reachable(map, dots, photo.candidates.map((candidate) => [candidate.title, ...candidate.lines].join(", ")));
      for (const dot of dots) groups.candidates.addLayer(dot);
      for (const tile of photo.tiles) {
        const outline = L.polygon(tile.rings.map((ring) => ring.map(latLng)), { color: GREEN, weight: 2, fillOpacity: 0.15 });
        const dot = L.circleMarker(latLng(tile.at), { radius: 4, color: INK, weight: 1.2, fillColor: GREEN, fillOpacity: 0.9 });
        for (const shape of [outline, dot]) groups.tiles.addLayer(sticky(shape, tip(tile.title, tile.lines)));
      }
      if (photo.metadata) {
        const icon = L.divIcon({ className: "", html: el("div", "claim"), iconSize: [14, 14] });
        groups.metadata.addLayer(withTip(marker(photo.metadata.at, photo.metadata.title, { icon }), tip(photo.metadata.title, photo.metadata.lines)));
      }
      for (const hypothesis of [...photo.hypotheses].reverse()) drawHypothesis(hypothesis);
      if (!photo.point) return;
      const chosen = photo.hypotheses.find((hypothesis) => hypothesis.chosen);
      const mark = withTip(pin(photo.point, photo.heading), tip(photo.heading, photo.summary, chosen ? chosen.claims : []));
      if (chosen) marks.set(chosen.id, mark);
      groups.answer.addLayer(mark);
    };
    /* Pins of many photos, over whatever else is shown. */
    const drawPins = (photos, onPick) => {
      over.clearLayers();
      photos.forEach((photo, index) => {
        if (!photo.point) return;
        const dot = L.circleMarker(latLng(photo.point), { radius: 6, color: INK, weight: 1.5, fillColor: AMBER, fillOpacity: 1 });
        dot.on("click", () => onPick(index));
        over.addLayer(withTip(dot, tip(photo.name, [photo.heading, ...photo.summary])));
      });
    };

    const addLegend = (entries) => {
      const control = L.control({ position: "bottomleft" });
      control.onAdd = () => {
        const box = add(el("details", "legend"), el("summary", "", "Legend"));
        box.open = window.innerWidth > 820;
        for (const [name, text] of entries) {
          const input = el("input");
          input.type = "checkbox";
          input.checked = !options.hidden.includes(name);
          input.addEventListener("change", () => (input.checked ? groups[name].addTo(map) : groups[name].remove()));
          const size = el("span", "size");
          if (name.startsWith("area")) sizes.set(name, size);
          const key = el("span", `key ${name}`);
          if (name === "heat") key.style.background = `linear-gradient(90deg, ${options.ramp.join(", ")})`;
          box.append(add(el("label"), input, key, el("span", "", text), size));
        }
        L.DomEvent.disableClickPropagation(box);
        L.DomEvent.disableScrollPropagation(box);
        return box;
      };
      control.addTo(map);
    };

    /* Lights the places that evidence weighs on; `null` lights none. */
    const light = (weights) => {
      for (const mark of marks.values()) if (mark.getElement()) mark.getElement().classList.remove("for", "against");
      for (const weight of weights || []) {
        const node = marks.get(weight.id) && marks.get(weight.id).getElement();
        if (node) node.classList.add(weight.against ? "against" : "for");
      }
    };
    const openTip = (id, open) => {
      const mark = marks.get(id);
      if (mark) open ? mark.openTooltip() : mark.closeTooltip();
    };
    const onMark = (listener) => {
      for (const [id, mark] of marks) mark.on("mouseover focus", () => listener(id)).on("mouseout blur", () => listener(null));
    };
    return { map, marks, groups, renderer, show, centreOn, setGround, clear, drawPhoto, drawHeat, drawHypothesis, drawPins, addLegend, light, openTip, onMark };
  };
  Object.assign(window.GeoSleuth, { createMap, loaded, latLng, tip, withTip });
})();
