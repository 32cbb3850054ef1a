"use strict";
/* The file that holds answers with a map: one photo's answer at a time, a list where there are several. */
(() => {
  const { el, add, createMap, headline, hypothesisRow, evidenceCard, footnotes, latLng, tip, withTip, filledIn, clustersIn, clusterMark } = window.GeoSleuth;
  const data = JSON.parse(document.getElementById("data").textContent);
  const isLean = data.leftOut !== undefined;
  const LISTED = 100;
  const panel = document.getElementById("panel");
  const map = createMap("map", { ...data, squeeze: data.view.squeeze });

  const details = (photo) => {
    const box = el("section");
    if (photo.thumbnail) {
      const image = el("img", "photo");
      image.src = photo.thumbnail;
      image.alt = photo.name;
      box.append(image);
    }
    add(box, headline(photo), el("p", "reasoning", photo.reasoning));
    if (photo.metadata) box.append(el("p", "small", photo.metadata.lines.join(" ")));
    if (photo.hypotheses.length) add(box, el("h2", "", "Hypotheses"), ...photo.hypotheses.map((hypothesis) => hypothesisRow(hypothesis, map)));
    if (photo.evidence.length) add(box, el("h2", "", "Evidence"), ...photo.evidence.map((evidence) => evidenceCard(evidence, map)));
    return add(box, footnotes(photo));
  };

  let current = null;
  const body = el("div");
  const select = (photo, row) => {
    map.drawPhoto(photo);
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
    row.addEventListener("click", () => { pick(photo, row); map.show(photo.bounds); });
    return row;
  };

  const manyPhotos = (photos) => {
    const pins = L.layerGroup().addTo(map.map), list = el("div", "picks"), note = el("div", "small"), find = el("input", "find");
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
      const clusters = clustersIn(map.map, wanted);
      pins.clearLayers();
      for (const cluster of clusters) {
        if (cluster.length > 1) { pins.addLayer(clusterMark(cluster, open)); continue; }
        const [photo] = cluster;
        const dot = L.circleMarker(latLng(photo.point), { renderer: map.renderer, radius: 6, color: "#0b1220", weight: 1.5, fillColor: "#ffb020", fillOpacity: 1 });
        dot.on("click", () => { pick(photo, null); listed(clusters); });
        pins.addLayer(withTip(dot, tip(photo.name, [photo.heading, ...photo.summary])));
      }
      listed(clusters);
    };
    const open = (cluster, box) => {
      if (map.map.getZoom() < map.map.getMaxZoom()) { map.map.fitBounds(box.pad(0.2), { animate: true, padding: [24, 24] }); return; }
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
    map.map.on("moveend", () => { opened = null; redraw(); });
    panel.append(find, note, list);
    redraw();
    return () => pick(photos[0], list.firstChild);
  };

  const fewPhotos = () => {
    const rows = data.photos.map((photo) => pickRow(photo));
    if (rows.length > 1) {
      panel.append(add(el("div", "picks"), ...rows));
      map.drawPins(data.photos, (index) => { select(data.photos[index], rows[index]); rows[index].scrollIntoView({ block: "nearest" }); });
    }
    panel.append(body);
    select(data.photos[0], rows[0]);
  };

  const start = async () => {
    map.centreOn(data.view.lon);
    map.show(data.view.bounds, false);
    await map.setGround(data.ground);
    map.addLegend(data.legend);
    panel.append(add(el("div", "brand"), el("b", "", "GeoSleuth"), el("span", "", data.subtitle)));
    if (isLean) {
      const begin = manyPhotos(data.photos.map(filledIn(data)));
      panel.append(body);
      begin();
    } else fewPhotos();
    document.documentElement.dataset.ready = "true";
  };
  start();
})();
