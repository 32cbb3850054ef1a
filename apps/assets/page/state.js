/* What the page knows, and small helpers that all of it uses. */
import { getJson } from "./api.js";

const { el, add } = window.GeoSleuth;
export { el, add };

export const app = {
  map: null,
  offer: null,
  world: null,
  mapLayer: null,   // the layer of tiles that the map shows
  choices: { model: null, strategy: null, atlases: null, max_precision: null },
  thread: null,     // id of the conversation
  photoId: null,    // of the photo whose answer is shown
  answer: null,     // that answer as the panel shows it
  question: false,  // whether a question of the thread waits for its answer
  run: null,        // AbortController of the turn under way
  cost: { model_calls: 0, tool_calls: 0, tokens: 0, usd: 0, seconds: 0 },
};

export const byId = (id) => document.getElementById(id);

export const button = (text, onClick, className = "") => {
  const made = el("button", className, text);
  made.type = "button";
  made.addEventListener("click", onClick);
  return made;
};

const listeners = new Map();
export const on = (name, listener) => listeners.set(name, [...(listeners.get(name) || []), listener]);
export const emit = (name, value) => (listeners.get(name) || []).forEach((listener) => listener(value));

export const openTab = (name) => emit("tab", name);

export const note = (text, kind = "note") => {
  const line = el("p", kind, text);
  if (kind === "error") line.setAttribute("role", "alert");
  byId("log").append(line);
  toEnd();
};
export const toEnd = () => { byId("log").scrollTop = byId("log").scrollHeight; };
export const toStartOf = (node) => node.scrollIntoView({ block: "start" });

export const photoPath = (rest) => `/v1/threads/${app.thread}/photos/${app.photoId}/${rest}`;

/* Fetch and show the answer about a photo: panel and map at once, the ground under it when it is drawn. */
export const showAnswer = async (photoId, { move = true } = {}) => {
  app.photoId = photoId;
  const { view, photo } = await getJson(photoPath("map"));
  app.answer = photo;
  app.map.centreOn(view.lon);
  app.map.drawPhoto(photo);
  if (move) app.map.show(photo.bounds);
  emit("answer", photo);
  getJson(photoPath("ground")).then((ground) => { if (app.photoId === photoId) app.map.setGround(ground, [app.world.image]); }).catch(() => {});
  return photo;
};

export const clearAnswer = () => {
  app.photoId = app.answer = null;
  app.map.clear();
  emit("answer", null);
};

const usd = (value) => (value ? `$${value < 0.01 ? value.toFixed(4) : value.toFixed(2)}` : "$0");
export const showCost = (cost, more = null) => {
  if (cost) app.cost = cost;
  const sum = (name) => (app.cost[name] || 0) + ((more && more[name]) || 0);
  const calls = `${sum("model_calls")} model call${sum("model_calls") === 1 ? "" : "s"}`;
  const tokens = sum("tokens") ? ` · ${sum("tokens").toLocaleString("en")} tokens` : "";
  byId("cost").textContent = `${usd(sum("usd"))} · ${calls}${tokens}`;
};
