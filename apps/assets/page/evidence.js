/* Evidence and hypotheses beside the map, and two hypotheses side by side. */
import { blobUrl } from "./api.js";
import { add, app, button, byId, el, on, openTab, photoPath } from "./state.js";

const { hypothesisRow, evidenceCard } = window.GeoSleuth;
let zoom = 6;
let pair = [];

const nothing = (text) => el("p", "small", text);

/* Hovering or focusing evidence lights the places it weighs on; a place lights its evidence. */
const showEvidence = (photo) => {
  const box = byId("evidence");
  if (!photo) { box.replaceChildren(nothing("Evidence appears here when a photo is located.")); return; }
  const cards = photo.evidence.map((evidence) => {
    const card = evidenceCard(evidence, app.map);
    card.tabIndex = 0;
    card.dataset.places = JSON.stringify(evidence.weights);
    return card;
  });
  const rows = photo.hypotheses.map((hypothesis) => hypothesisRow(hypothesis, app.map));
  const light = (id) => {
    for (const card of cards) {
      const weight = JSON.parse(card.dataset.places).find((one) => one.id === id);
      card.classList.toggle("lit", Boolean(weight));
      card.classList.toggle("against", Boolean(weight && weight.against));
    }
    for (const row of rows) row.classList.toggle("lit", row.dataset.id === id);
  };
  for (const row of rows) {
    for (const type of ["mouseenter", "focus"]) row.addEventListener(type, () => light(row.dataset.id));
    for (const type of ["mouseleave", "blur"]) row.addEventListener(type, () => light(null));
  }
  app.map.onMark(light);
  box.replaceChildren(el("h2", "", "Hypotheses"), ...rows, el("h2", "", "Evidence"), ...(cards.length ? cards : [nothing("None: nothing was read or found.")]));
};

const choice = (photo, index, label) => {
  const select = el("select");
  for (const hypothesis of photo.hypotheses) {
    const option = el("option", "", `${hypothesis.label}. ${hypothesis.name}`);
    option.value = hypothesis.id;
    option.selected = hypothesis.id === pair[index];
    select.append(option);
  }
  select.addEventListener("change", () => { pair[index] = select.value; showComparison(photo); });
  return add(el("label"), el("span", "small", label), select);
};

const fromAbove = (hypothesis) => {
  const figure = el("figure"), image = el("img"), caption = el("figcaption", "small", "Loading the view from above");
  image.alt = `${hypothesis.name} from above`;
  image.hidden = true;
  blobUrl(photoPath(`hypotheses/${encodeURIComponent(hypothesis.id)}/view?zoom=${zoom}`))
    .then(({ url, about }) => { image.src = url; image.hidden = false; caption.textContent = about; })
    .catch((error) => { caption.textContent = error.message; });
  return add(figure, image, caption);
};

const column = (photo, hypothesis) => {
  const claims = el("ul");
  for (const evidence of photo.evidence) {
    const weight = evidence.weights.find((one) => one.id === hypothesis.id);
    if (weight) claims.append(add(el("li"), el("span", `weight${weight.against ? " against" : ""}`, weight.text.split(" ").pop()), el("span", "", evidence.claim)));
  }
  return add(el("div", "side-by-side"), el("h3", "", hypothesis.name), el("p", "small", hypothesis.lines.join(" ")), fromAbove(hypothesis), claims.children.length ? claims : nothing("No evidence weighs on it."));
};

/* The photo beside the satellite tile that looks most like it, where a match has weight. */
const matched = (photo) => {
  const pictures = photo.evidence.map((evidence) => evidence.pictures).find((pair) => pair.length === 2);
  if (!pictures) return [];
  const figures = pictures.map(({ src, text }) => {
    const image = el("img");
    image.src = src;
    image.alt = text;
    return add(el("figure"), image, el("figcaption", "small", text));
  });
  return [el("h2", "", "Photo and satellite tile"), add(el("div", "columns matched"), ...figures)];
};

const showComparison = (photo) => {
  const box = byId("compare"), pictures = photo ? matched(photo) : [];
  if (!photo || photo.hypotheses.length < 2) { box.replaceChildren(...pictures, nothing("Two hypotheses of an answer can be compared here.")); return; }
  const known = photo.hypotheses.map((hypothesis) => hypothesis.id);
  if (!pair.every((id) => known.includes(id)) || pair.length < 2) pair = known.slice(0, 2);
  const nearer = (step) => button(step > 0 ? "Closer" : "Wider", () => { zoom = Math.min(18, Math.max(2, zoom + step)); showComparison(photo); });
  const pick = add(el("div", "choose"), choice(photo, 0, "First"), choice(photo, 1, "Second"));
  const shown = pair.map((id) => column(photo, photo.hypotheses.find((hypothesis) => hypothesis.id === id)));
  box.replaceChildren(...pictures, ...(pictures.length ? [el("h2", "", "Two hypotheses")] : []), pick, add(el("div", "actions"), nearer(1), nearer(-1)), add(el("div", "columns"), ...shown));
};

on("answer", showEvidence);
on("answer", () => { byId("compare").replaceChildren(); if (!byId("compare").hidden) showComparison(app.answer); });
on("tab", (name) => { if (name === "compare") showComparison(app.answer); });
