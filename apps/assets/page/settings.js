/* Choices of model, strategy and precision, which hold from the next turn on; the look of the page. */
import { sendJson } from "./api.js";
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

const choose = (name) => (value) => {
  app.choices = { ...app.choices, [name]: value || null };
  if (app.thread) sendJson("PATCH", `/v1/threads/${app.thread}`, { choices: app.choices }).catch((error) => note(error.message, "error"));
};

const named = (values) => values.map((value, index) => [index ? value : "", index ? value : `${value} (the server's)`]);

export const applyTheme = (theme) => {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
};

const show = () => {
  const { offer, choices } = app;
  const theme = localStorage.getItem(THEME) || "";
  const precisions = [["", "as fine as it can be"], ...offer.precisions.map((level) => [level, `no finer than a ${level}`])];
  const atlases = add(el("div", "fact"), el("span", "", "Atlases searched"), el("span", "", offer.atlases.join(", ") || "none: start the server with --atlas world"));
  const budget = add(el("div", "fact"), el("span", "", "Most a photo may cost"), el("span", "", `$${offer.budget_usd.toFixed(2)}`));
  byId("choices").replaceChildren(
    field("Chat model", named(offer.models), choices.model || "", choose("model"), offer.models.length < 2 ? "The server offers others with --offer-model." : ""),
    field("Strategy", named(offer.strategies), choices.strategy || "", choose("strategy")),
    field("Precision", precisions, choices.max_precision || "", choose("max_precision")),
    atlases, budget,
    field("Appearance", [["", "as the system"], ["light", "light"], ["dark", "dark"]], theme, (value) => { localStorage.setItem(THEME, value); applyTheme(value); }),
  );
};

export const showLeaving = () => {
  const leaves = app.offer.data_that_leaves;
  byId("leaves").textContent = leaves.length ? `Leaves this machine: ${leaves.join("; ")}` : "Nothing leaves this machine";
  byId("leaves").className = leaves.length ? "leaves" : "stays";
};

export const openSettings = () => { show(); byId("settings").showModal(); };

applyTheme(localStorage.getItem(THEME) || "");
on("choices", () => { if (byId("settings").open) show(); });
