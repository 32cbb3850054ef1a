/* Starts the page: the map, what the server offers, tabs, and photos that are dropped, pasted or picked. */
import { ApiError, blobUrl, getJson, setKey } from "./api.js";
import { app, byId, el, add, button, emit, note, on, photoPath, showCost } from "./state.js";
import { openSettings, showLeaving } from "./settings.js";
import { openHistory, openLast, startNew } from "./thread.js";
import { send, stop } from "./turns.js";
import { startJob } from "./batch.js";
import { offerTiles } from "./tiles.js";
import "./evidence.js";

const { createMap, loaded } = window.GeoSleuth;
const TABS = ["chat", "evidence", "compare", "batch"];
let waiting = [];

/* Tabs, with the arrow keys */
const selectTab = (name) => {
  for (const tab of TABS) {
    const chosen = tab === name, head = byId(`tab-${tab}`);
    head.setAttribute("aria-selected", String(chosen));
    head.tabIndex = chosen ? 0 : -1;
    byId(tab).hidden = !chosen;
  }
};
on("tab", selectTab);
for (const [index, name] of TABS.entries()) {
  const head = byId(`tab-${name}`);
  head.addEventListener("click", () => emit("tab", name));
  head.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = TABS[(index + step + TABS.length) % TABS.length];
    emit("tab", next);
    byId(`tab-${next}`).focus();
  });
}

/* Photos: of several it is asked whether they are of one place, or each is to be located alone; where a place is talked
   about, whether they join it. */
const MOST_TOGETHER = 8;
const isPhoto = (file) => file.type.startsWith("image/") || /\.(heic|heif|avif)$/i.test(file.name);
const attach = (files) => {
  waiting = files;
  const box = byId("attached");
  box.hidden = !files.length;
  const joins = app.answer ? [button(files.length < 2 ? "Same place" : "All of the current place", () => sendAttached(true, true))] : [];
  const alone = files.length < 2 ? (joins.length ? [button("Another place", () => sendAttached(false))] : []) : [button("Each alone", () => sendAttached(false)), ...(files.length > MOST_TOGETHER ? [] : [button("Photos of one place", () => sendAttached(true))])];
  box.replaceChildren(...files.map((file) => el("span", "", file.name)), ...joins, ...alone, button("Remove", () => attach([]), "quiet"));
};
const sendAttached = async (together, samePlace = false) => {
  if (app.run) return;
  const text = byId("say").value.trim(), files = waiting;
  byId("say").value = "";
  grow();
  attach([]);
  const turns = together || !files.length ? [files] : files.map((file) => [file]);
  for (const [index, photos] of turns.entries()) await send(index ? "" : text, photos, samePlace);
};
const take = async (files) => {
  if (!byId("batch").hidden) { startJob(files); return; }
  const photos = files.filter(isPhoto);
  if (!photos.length) { if (files.length) note("That is no photo; a zip goes to the tab Batch.", "error"); return; }
  emit("tab", "chat");
  attach(photos);
  if (photos.length === 1 && !app.answer) await sendAttached(false);
};
byId("file").addEventListener("change", (event) => { const files = [...event.target.files]; event.target.value = ""; take(files); });
document.addEventListener("paste", (event) => {
  const files = [...event.clipboardData.files];
  if (files.length) { event.preventDefault(); take(files); }
});
let depth = 0;
const hovering = (change) => (event) => {
  if (![...event.dataTransfer.types].includes("Files")) return;
  event.preventDefault();
  depth = Math.max(0, depth + change);
  byId("drop").hidden = !depth;
};
document.addEventListener("dragenter", hovering(1));
document.addEventListener("dragleave", hovering(-1));
document.addEventListener("dragover", hovering(0));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  depth = 0;
  byId("drop").hidden = true;
  take([...event.dataTransfer.files]);
});

/* Words */
const field = byId("say");
const grow = () => { field.style.height = "auto"; field.style.height = `${Math.min(field.scrollHeight, 160)}px`; };
field.addEventListener("input", grow);
field.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); byId("composer").requestSubmit(); }
});
byId("composer").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (field.value.trim() || waiting.length) await sendAttached(false);
});
byId("stop").addEventListener("click", stop);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && app.run && !document.querySelector("dialog[open]")) stop();
  if (event.key === "/" && !/^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement.tagName)) { event.preventDefault(); emit("tab", "chat"); field.focus(); }
});
on("run", (runs) => { byId("send").hidden = runs; byId("stop").hidden = !runs; });

byId("new-thread").addEventListener("click", startNew);
byId("open-history").addEventListener("click", openHistory);
byId("open-settings").addEventListener("click", openSettings);

const askForKey = () => new Promise((done) => {
  byId("key").showModal();
  byId("key-form").addEventListener("submit", () => { setKey(byId("key-field").value.trim()); done(); }, { once: true });
});
const offered = async () => {
  for (;;) {
    try { return await getJson("/v1/offer"); } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 401) throw error;
      await askForKey();
    }
  }
};

/* A candidate's thumbnail, decoded, so that the tip that it joins has its size. */
const candidateThumbnail = async (path, title) => {
  const image = el("img");
  image.alt = `Photo of ${title}`;
  image.src = (await blobUrl(photoPath(path))).url;
  await image.decode();
  return image;
};
const drawWorld = (world) => {
  app.world = world;
  app.map = createMap("map", { ...world, thumbnail: candidateThumbnail });
  app.map.centreOn(world.view.lon);
  const { x, y } = app.map.map.getSize();
  app.map.map.setView([24, 10], Math.max(1, Math.log2(Math.max(x, y) / 256) - 0.1));
  app.map.addLegend(world.legend);
};

/* The map has another size on paper. */
for (const type of ["beforeprint", "afterprint"]) {
  window.addEventListener(type, () => {
    app.map.map.invalidateSize(false);
    if (app.answer) app.map.show(app.answer.bounds, false);
  });
}

const start = async () => {
  const offer = offered();
  drawWorld(await getJson("/world.json"));
  app.offer = await offer;
  byId("say").maxLength = app.offer.limits.text_characters;
  offerTiles();
  showLeaving();
  showCost({});
  await openLast();
  document.documentElement.dataset.ready = "true";
  app.world.image = await loaded({ src: "/world.jpg", ...app.world.picture });
  if (!app.answer) await app.map.setGround(app.world.ground, [app.world.image]);
  document.documentElement.dataset.ground = "true";
};
start().catch((error) => note(error.message, "error"));
