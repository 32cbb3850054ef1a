/* Choices of model, strategy and precision, which hold from the next turn on; the look of the page. */
import { getJson, sendJson } from "./api.js";
import { add, app, byId, el, note, on } from "./state.js";

const THEME = "geosleuth-theme";

const field = (label, values, chosen, onChange, about = "") => {
  const select = el("select");
  for (const [value, text] of values) {
    const option = el("option", "", text);
    option.value = value;
    option.selected = value === chosen;
    select.append(option);
  }
  select.addEventListener("change", () => onChange(select.value));
  const box = add(el("label"), el("span", "", label), select);
  if (about) box.append(el("span", "small", about));
  return box;
};

/* What leaves the machine depends on the choices. */
const refreshLeaving = async () => {
  const asked = app.choices, query = new URLSearchParams();
  for (const name of ["model", "strategy", "atlases"]) for (const one of asked[name] ? [asked[name]].flat() : []) query.append(name, one);
  const offer = await getJson(`/v1/offer?${query}`);
  if (app.choices !== asked) return;
  app.offer = offer;
  showLeaving();
};

const choose = (name) => (value) => {
  app.choices = { ...app.choices, [name]: value || null };
  refreshLeaving().catch((error) => note(error.message, "error"));
  if (app.thread) sendJson("PATCH", `/v1/threads/${app.thread}`, { choices: app.choices }).catch((error) => note(error.message, "error"));
};

const named = (values) => values.map((value, index) => [index ? value : "", index ? value : `${value} (the server's)`]);

/* One at least is searched; all that the server searches by itself is its choice, which follows the server. */
const atlasChoice = () => {
  const { atlases, searched_atlases: searched } = app.offer;
  if (atlases.length < 2) return add(el("div", "fact"), el("span", "", "Atlases searched"), el("span", "", atlases.join(", ") || "none: start the server with --atlas world"));
  const boxes = atlases.map((name) => Object.assign(el("input"), { type: "checkbox", value: name, checked: (app.choices.atlases || searched).includes(name) }));
  const group = add(el("fieldset", "fact"), el("legend", "", "Atlases searched"));
  for (const box of boxes) {
    box.addEventListener("change", () => {
      const chosen = boxes.filter((one) => one.checked).map((one) => one.value);
      if (!chosen.length) { box.checked = true; return; }
      choose("atlases")(chosen);
    });
    group.append(add(el("label"), box, el("span", "", box.value)));
  }
  return group;
};

export const applyTheme = (theme) => {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
};

const show = () => {
  const { offer, choices } = app;
  const theme = localStorage.getItem(THEME) || "";
  const precisions = [["", "as fine as it can be"], ...offer.precisions.map((level) => [level, `no finer than a ${level}`])];
  const budget = add(el("div", "fact"), el("span", "", "Most a photo may cost"), el("span", "", `$${offer.budget_usd.toFixed(2)}`));
  byId("choices").replaceChildren(
    field("Chat model", named(offer.models), choices.model || "", choose("model"), offer.models.length < 2 ? "The server offers others with --offer-model." : ""),
    field("Strategy", named(offer.strategies), choices.strategy || "", choose("strategy")),
    field("Precision", precisions, choices.max_precision || "", choose("max_precision")),
    atlasChoice(), budget,
    field("Appearance", [["", "as the system"], ["light", "light"], ["dark", "dark"]], theme, (value) => { localStorage.setItem(THEME, value); applyTheme(value); }),
  );
};

export const showLeaving = () => {
  const layer = app.mapLayer ? [`the part of the map that is looked at, to ${app.mapLayer.hosts}`] : [];
  const leaves = [...app.offer.data_that_leaves, ...layer];
  byId("leaves").textContent = leaves.length ? `Leaves this machine: ${leaves.join("; ")}` : "Nothing leaves this machine";
  byId("leaves").className = leaves.length ? "leaves" : "stays";
};

export const openSettings = () => { show(); byId("settings").showModal(); };

applyTheme(localStorage.getItem(THEME) || "");
on("choices", () => {
  refreshLeaving().catch((error) => note(error.message, "error"));
  if (byId("settings").open) show();
});
