"use strict";
/* An answer as a page tells it: place, chances, radii, hypotheses, evidence. */
(() => {
  const { el, add } = window.GeoSleuth;

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
  /* Place, coordinates, chances and radii. */
  const headline = (photo, tag = "h1") => {
    const box = add(el("div", "headline"), el(tag, "", photo.heading), el("div", "coordinates", photo.coordinates));
    if (photo.chances.length) box.append(chances(photo.chances));
    else add(box, add(el("div", "row"), el("span", "", photo.confidenceLabel), el("b", "", photo.confidence)), meter(photo.share));
    if (photo.discs.length) {
      const radii = el("div", "radii");
      for (const disc of [...photo.discs].reverse()) radii.append(add(el("div", "", disc.title), el("b", "", disc.size)));
      add(box, radii, el("div", "small", photo.note));
    }
    if (photo.areas) box.append(el("p", "areas", photo.areas));
    return box;
  };
  const hypothesisRow = (hypothesis, map) => {
    const row = el("button", `hypothesis${hypothesis.chosen ? " chosen" : ""}${hypothesis.out ? " out" : ""}`);
    row.type = "button";
    row.dataset.id = hypothesis.id;
    add(row, el("span", "badge", hypothesis.label), el("span", "name", hypothesis.name), el("span", "", hypothesis.percent), meter(hypothesis.share));
    row.addEventListener("click", () => map.show(hypothesis.bounds));
    for (const type of ["mouseenter", "focus"]) row.addEventListener(type, () => map.openTip(hypothesis.id, true));
    for (const type of ["mouseleave", "blur"]) row.addEventListener(type, () => map.openTip(hypothesis.id, false));
    return row;
  };
  const picture = ({ src, text }) => {
    const image = el("img");
    image.src = src;
    image.alt = text;
    return add(el("figure"), image, el("figcaption", "small", text));
  };
  const evidenceCard = (evidence, map) => {
    const card = add(el("div", "evidence"), el("p", "", evidence.claim), el("div", "from", evidence.source));
    if (evidence.told) card.append(el("div", "told", evidence.told));
    card.title = evidence.details;
    if (evidence.pictures.length) card.append(add(el("div", "pair"), ...evidence.pictures.map(picture)));
    const weights = el("div", "weights");
    for (const weight of evidence.weights) weights.append(el("span", `weight${weight.against ? " against" : ""}`, weight.text));
    if (evidence.weights.length) card.append(weights);
    for (const type of ["mouseenter", "focus"]) card.addEventListener(type, () => map.light(evidence.weights));
    for (const type of ["mouseleave", "blur"]) card.addEventListener(type, () => map.light(null));
    return card;
  };
  const footnotes = (photo) =>
    add(el("div", "foot"), ...photo.cost.map((line) => el("div", "small", line)), el("div", "small", photo.versions), el("div", "small", photo.hash));
  Object.assign(window.GeoSleuth, { headline, hypothesisRow, evidenceCard, footnotes });
})();
