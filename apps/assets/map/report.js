"use strict";
/* The file that holds answers with a map: one photo's answer at a time, a list where there are several. */
(() => {
  const { el, add, createMap, headline, hypothesisRow, evidenceCard, footnotes } = window.GeoSleuth;
  const data = JSON.parse(document.getElementById("data").textContent);
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
  const pickRow = (photo) => {
    const row = el("button", "pick");
    row.type = "button";
    const picture = el(photo.thumbnail ? "img" : "span", photo.thumbnail ? "" : "blank");
    if (photo.thumbnail) { picture.src = photo.thumbnail; picture.alt = ""; picture.loading = "lazy"; }
    add(row, picture, add(el("span"), el("div", "name", photo.name), el("div", "place", photo.heading)), add(el("span", "sure", photo.confidence), ...miniBars(photo.chances)));
    row.title = photo.summary.join("\n");
    row.addEventListener("click", () => { select(photo, row); map.show(photo.bounds); });
    return row;
  };

  const start = async () => {
    map.centreOn(data.view.lon);
    map.show(data.view.bounds, false);
    await map.setGround(data.ground);
    map.addLegend(data.legend);
    panel.append(add(el("div", "brand"), el("b", "", "GeoSleuth"), el("span", "", data.subtitle)));
    const rows = data.photos.map(pickRow);
    if (rows.length > 1) {
      panel.append(add(el("div", "picks"), ...rows));
      map.drawPins(data.photos, (index) => { select(data.photos[index], rows[index]); rows[index].scrollIntoView({ block: "nearest" }); });
    }
    panel.append(body);
    select(data.photos[0], rows[0]);
    document.documentElement.dataset.ready = "true";
  };
  start();
})();
